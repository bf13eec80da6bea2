//! How many bytes of a client the kernel keeps until they are read.

use std::net::TcpListener;

use socket2::SockRef;

use super::Server;
use super::connection::ConnectionPhase;

/// For most connections. With the kernel's default many clients could fill a small container. The kernel
/// makes twice as much of it.
const USUAL: usize = 64 * 1024;

/// For a connection that sends long bodies: as much as most hosts allow (`net.core.rmem_max`). The usual 512
/// spans have about 200 KB and arrive without a pause in it. Where there is less room, each read makes some,
/// and the kernel sends the next part of a client on this host within that read, which takes longer than the
/// read itself.
const LONG: usize = 212_992;

/// Connections that may have a long buffer at the same time.
const MOST_LONG: usize = 16;

/// Lets the connections of a socket have the usual buffer.
pub(super) fn of_connections(listener: &TcpListener) {
    set(SockRef::from(listener), USUAL);
}

fn set(socket: SockRef<'_>, bytes: usize) {
    // The system's own size will do, too.
    let _ = socket.set_recv_buffer_size(bytes);
}

impl Server {
    /// Gives a connection that has sent a long body a long buffer for the next ones. It keeps it: with a
    /// shorter one than before, what is on its way would be dropped and sent again after 0.2 s.
    pub(super) fn lengthen_buffer(&mut self, index: usize) {
        let connection = &self.connections[index];
        let is_long = match &connection.phase {
            ConnectionPhase::Waiting(request) => request.body.len() > USUAL,
            _ => false,
        };
        if !is_long || connection.has_long_buffer {
            return;
        }
        let long = self.connections.iter().filter(|c| c.has_long_buffer);
        if long.count() < MOST_LONG {
            let connection = &mut self.connections[index];
            set(SockRef::from(&*connection.stream), LONG);
            connection.has_long_buffer = true;
        }
    }
}
