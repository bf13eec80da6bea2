"""The modules that only compute, called by themselves."""

import random

import pytest


@pytest.fixture
def call(page):
    """Calls a function of a module with arguments that are JSON."""
    def call(module, name, *arguments):
        return page.evaluate("([module, name, given]) => import(`/page/${module}.js`).then((found) => found[name](...given))", [module, name, arguments])
    return call


def test_durations(call):
    cases = {
        None: "–", 0: "0 ms", 0.0000004: "0.40 µs", 0.000999: "999 µs", 0.0009996: "1.00 ms", 0.0123: "12.3 ms", 0.99949: "999 ms", 0.9996: "1.00 s", 9.994: "9.99 s",
        61.4: "61.4 s", 99.96: "1 min 40 s", 119.6: "2 min 0 s", 3599.6: "1 h 0 min", 7260: "2 h 1 min", 400_000: "5 days", 1e9: "11 574 days", -0.5: "−500 ms",
    }
    for seconds, text in cases.items():
        assert call("format", "duration", seconds).replace("\u202f", " ") == text, seconds


def test_other_numbers(call):
    plain = lambda *arguments: call("format", *arguments).replace("\u202f", " ")
    assert [plain("number", value) for value in (0, 999, 1000, 1234567)] == ["0", "999", "1 000", "1 234 567"]
    assert [plain("percent", part, 1000) for part in (0, 1, 15, 99.6, 500, 1000)] == ["0%", "0.1%", "1.5%", "10%", "50%", "100%"]
    assert plain("percent", 1, 100_000) == "<0.1%"
    assert [plain("bytes", count) for count in (0, 999, 1024, 1_500_000, 32 << 20)] == ["0 B", "999 B", "1 KB", "1.4 MB", "32 MB"]
    assert [plain("rate", value) for value in (0.04, 2, 2.55, 9.96, 1234)] == ["0/min", "2/min", "2.5/min", "10/min", "1 234/min"]


def test_texts(call):
    assert call("format", "line", "a\n\t b ") == "a b"
    assert call("format", "line", "\U0001f600" * 10, 5) == "\U0001f600\U0001f600\ufffd…"
    assert call("format", "line", None) == ""
    assert call("format", "line", "\u202eabc\u0007\u007f\u200b\U000e0041") == "[U+202E]abc␇␡[U+200B][U+E0041]"
    assert call("format", "block", "a\r\n\tb") == "a\n\tb"
    cases = [("GET", "https://me:pw@shop.example:8443/a/b?token=x#y", "web", "GET /a/b shop.example:8443"), ("GET", "https://shop.example:8443/", "shop.example", "GET /"),
             ("", "/only/path?x", "n", "/only/path"), ("POST", None, "n", "POST"), (None, "http://h", "n", "/ h")]
    for method, url, name, text in cases:
        assert call("format", "request", method, url, name) == text


def test_ticks(call):
    for length in (1e-6, 3e-5, 0.0123, 1, 59, 86400 * 40):
        for most in (2, 5, 12):
            view = {"from": length * 0.3, "to": length}
            found = call("timescale", "ticks", view, most)
            assert 1 <= len(found["marks"]) <= most + 1, (length, most)
            texts = [call("timescale", "tickText", mark, found["step"]) for mark in found["marks"]]
            assert len(set(texts)) == len(texts), texts
    text = lambda value, step: call("timescale", "tickText", value, step).replace("\u202f", " ")
    assert [text(0.2, 0.1), text(2, 0.5), text(3, 1), text(0.0005, 0.0001), text(0.0025, 0.0005)] == ["200 ms", "2000 ms", "3 s", "500 µs", "2500 µs"]


def test_zoom_never_leaves_the_trace(call):
    chance = random.Random(1)
    length = 2.0
    view = call("timescale", "whole", length)
    for _ in range(60):
        action = chance.choice(["zoom", "pan", "between"])
        if action == "zoom":
            view = call("timescale", "zoom", view, chance.choice([0.5, 2, 0.01, 100]), chance.random(), length)
        elif action == "pan":
            view = call("timescale", "pan", view, chance.uniform(-3, 3), length)
        else:
            view = call("timescale", "between", view, chance.random(), chance.random(), length)
        assert -1e-9 <= view["from"] < view["to"] <= length * 1.02 + 1e-9


TREE = """(segments) => import("/page/tree.js").then(({ buildTree, visibleRows }) => {
  const rows = buildTree(segments.map((segment) => ({ outcome: "ok", service: null, name: segment.key, end: null, ...segment })));
  const folded = new Set(rows.filter((_, at) => at % 3 === 0).map((row) => row.segment.key));
  return {
    rows: rows.map((row) => [row.segment.key, row.parent?.segment.key ?? null, row.level, row.size, row.worst]),
    seen: visibleRows(rows, folded).map((row) => row.segment.key), folded: [...folded],
  };
})"""


@pytest.mark.parametrize("seed", range(5))
def test_each_segment_is_one_row_whatever_the_parents(page, seed):
    chance = random.Random(seed)
    for count in (1, 2, 5, 60):
        keys = [f"k{at}" for at in range(count)]
        segments = [{"key": key, "parent": chance.choice([None, "gone", *keys]), "start": chance.choice([None, chance.random()]), "outcome": chance.choice(["ok", "error", "fault"])} for key in keys]
        found = page.evaluate(TREE, segments)
        outcome = {segment["key"]: segment["outcome"] for segment in segments}
        assert sorted(row[0] for row in found["rows"]) == sorted(keys)
        place = {row[0]: (at, row) for at, row in enumerate(found["rows"])}
        for at, (key, parent, level, size, worst) in enumerate(found["rows"]):
            below = found["rows"][at + 1 : at + 1 + size]
            assert all(row[2] > level for row in below) and len(below) == size
            following = found["rows"][at + 1 + size : at + 2 + size]
            assert all(row[2] <= level for row in following)
            order = ["ok", "error", "throttle", "fault"]
            assert worst == max(([outcome[row[0]] for row in below] or ["ok"]), key=order.index)
            if parent is None:
                assert level == 1
            else:
                assert place[parent][0] < at and place[parent][1][2] == level - 1
        hidden = {row[0] for key in found["folded"] for row in found["rows"][place[key][0] + 1 : place[key][0] + 1 + place[key][1][3]]}
        assert found["seen"] == [row[0] for row in found["rows"] if row[0] not in hidden]


@pytest.mark.parametrize("seed", range(5))
def test_cards_of_the_map_never_overlap(page, seed):
    chance = random.Random(seed)
    for count in (0, 1, 7, 60):
        nodes = [{"id": f"service:{at}", "kind": "service", "name": str(at)} for at in range(count)]
        edges = [{"from": chance.choice(nodes)["id"], "to": chance.choice([*nodes, {"id": "service:gone"}])["id"]} for _ in range(count * 2)]
        laid = page.evaluate("""(answer) => import("/page/graph.js").then(({ layOut, CARD }) => {
          const { nodes, edges, width, height } = layOut(answer, 1200);
          return { width, height, card: CARD, nodes: nodes.map(({ x, y, column }) => ({ x, y, column })), forward: edges.filter((e) => !e.back).map((e) => [e.from.column, e.to.column]) };
        })""", {"nodes": nodes, "edges": edges})
        card = laid["card"]
        for at, one in enumerate(laid["nodes"]):
            assert 0 <= one["x"] <= laid["width"] - card["width"] and 0 <= one["y"] <= laid["height"] - card["height"]
            for other in laid["nodes"][:at]:
                assert abs(one["x"] - other["x"]) >= card["width"] or abs(one["y"] - other["y"]) >= card["height"]
        assert all(a < b for a, b in laid["forward"])
