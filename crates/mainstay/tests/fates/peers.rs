//! The servers and the clients of fates.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::PATIENCE;

/// Servers of every kind, for as long as the test runs.
pub(crate) struct Servers {
    pub(crate) echoing: SocketAddr,
    pub(crate) holding: SocketAddr,
    /// Says something and finishes.
    pub(crate) finishing: SocketAddr,
    /// Resets.
    pub(crate) resetting: SocketAddr,
    /// Says something and resets.
    pub(crate) breaking: SocketAddr,
    /// Waits for the client's end and resets.
    pub(crate) spiteful: SocketAddr,
    /// Sends more than fits.
    pub(crate) flooding: SocketAddr,
    pub(crate) refusing: SocketAddr,
    /// Answers no connect.
    pub(crate) silent: SocketAddr,
    _kept: (Socket, Vec<Socket>),
}

impl Servers {
    pub(crate) fn start() -> Self {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
        let refusing = bound.local_addr().expect("an address").as_socket().expect("of IP");
        let (silent, fillers) = unanswering();
        Self {
            echoing: server(|mut stream| {
                let mut reader = stream.try_clone().expect("a handle");
                let _ = std::io::copy(&mut reader, &mut stream);
            }),
            holding: server(std::mem::forget),
            finishing: server(|mut stream| {
                let _ = stream.write_all(b"bye");
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read(&mut [0; 64]);
            }),
            resetting: server(|stream| {
                thread::sleep(Duration::from_millis(100));
                reset(stream);
            }),
            breaking: server(|mut stream| {
                let _ = stream.write_all(b"data");
                thread::sleep(Duration::from_millis(200));
                reset(stream);
            }),
            spiteful: server(|mut stream| {
                let _ = stream.read_to_end(&mut Vec::new());
                thread::sleep(Duration::from_millis(100));
                reset(stream);
            }),
            flooding: server(|mut stream| {
                let _ = stream.write_all(&vec![b'z'; 64 << 20]);
            }),
            refusing,
            silent,
            _kept: (bound, fillers),
        }
    }
}

fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A listener whose backlog is full.
fn unanswering() -> (SocketAddr, Vec<Socket>) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = new();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    listener.listen(0).expect("it listens");
    let address = listener.local_addr().expect("an address");
    let mut kept = vec![listener];
    loop {
        let filler = new();
        if filler.connect_timeout(&address, Duration::from_millis(100)).is_err() {
            return (address.as_socket().expect("of IP"), kept);
        }
        kept.push(filler);
    }
}

/// A server that is not there yet.
pub(crate) struct Late {
    socket: Mutex<Option<Socket>>,
    address: SocketAddr,
}

pub(crate) fn late() -> Late {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let address = socket.local_addr().expect("an address").as_socket().expect("of IP");
    Late { socket: Mutex::new(Some(socket)), address }
}

impl Late {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(&self) {
        let socket = self.socket.lock().expect("no panic").take().expect("it listens once");
        socket.listen(64).expect("it listens");
        let listener = TcpListener::from(socket);
        thread::spawn(move || listener.incoming().for_each(drop));
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the balancer listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Sends, and reads as much back.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("it takes them");
    stream.read_exact(&mut vec![0; bytes.len()]).expect("they come back");
}

/// Reads until the end, whatever that is.
pub(crate) fn drain(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

pub(crate) fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
