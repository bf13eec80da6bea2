//! Documents that differ from each other as those of one busy host do: ids, times, addresses and
//! amounts are new in each, names and queries come from a few. A repeated document would compress to
//! nothing.

use std::fmt::Write;

/// Document `number`, about 1 KB.
pub fn document(number: u64) -> String {
    let mut random = Random(number);
    let paths = ["cart", "orders", "users", "search", "products"];
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
        "okhttp/4.12.0",
    ];
    let queries = [
        "SELECT id, total, currency FROM orders WHERE customer_id = ? AND created_at > ?",
        "UPDATE cart_items SET quantity = ? WHERE cart_id = ? AND product_id = ?",
        "SELECT * FROM products WHERE category = ? ORDER BY rank LIMIT 20",
    ];
    let start = 1_795_375_671.0 + number as f64 / 1000.0;
    let took = random.below(900) as f64 / 1000.0;
    let path = random.pick(&paths);
    let mut text = format!(
        r#"{{"name":"shop-api","id":"{:016x}","trace_id":"1-{:08x}-{:024x}","start_time":{:.6},"end_time":{:.6},"#,
        random.next(),
        start as u64,
        u128::from(random.next()) << 32 | u128::from(random.below(1 << 32)),
        start,
        start + took,
    );
    let _ = write!(
        text,
        r#""http":{{"request":{{"method":"GET","url":"https://shop.example.com/{path}/{}?session={:x}","user_agent":"{}","client_ip":"203.0.113.{}"}},"response":{{"status":{},"content_length":{}}}}},"#,
        random.below(1_000_000),
        random.next(),
        random.pick(&agents),
        random.below(256),
        random.pick(&["200", "200", "200", "404"]),
        random.below(50_000),
    );
    let _ = write!(
        text,
        r#""aws":{{"xray":{{"sdk":"X-Ray for Node.js","sdk_version":"3.10.2","package":"aws-xray-sdk"}},"ecs":{{"container":"shop-api-7d5f9c","container_arn":"arn:aws:ecs:eu-west-1:123456789012:container/{:x}"}}}},"annotations":{{"tenant":"t{}","items":{}}},"#,
        random.below(4),
        random.below(400),
        random.below(12),
    );
    let _ = write!(
        text,
        r#""subsegments":[{{"id":"{:016x}","name":"orders@db.internal","start_time":{:.6},"end_time":{:.6},"namespace":"remote","sql":{{"url":"db.internal:5432/orders","database_type":"postgresql","user":"shop","sanitized_query":"{}"}}}},"#,
        random.next(),
        start + took / 4.0,
        start + took / 2.0,
        random.pick(&queries),
    );
    let _ = write!(
        text,
        r#"{{"id":"{:016x}","name":"DynamoDB","start_time":{:.6},"end_time":{:.6},"namespace":"aws","aws":{{"operation":"GetItem","region":"eu-west-1","request_id":"{:016X}{:016X}{:016X}","table_name":"sessions","retries":0}},"http":{{"response":{{"status":200}}}}}}]}}"#,
        random.next(),
        start + took / 2.0,
        start + took,
        random.next(),
        random.next(),
        random.next(),
    );
    text
}

/// SplitMix64: the same documents in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}
