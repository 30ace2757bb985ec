//! The requests of exchanges and proxies on loopback: an HTTP server whose answers a test sets, a
//! proxy that leads everywhere to one place.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A server that answers what a test has set for a path, and 404 to all else.
pub struct Rest {
    address: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, String>>>,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Rest {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, asked) = (
            Arc::<Mutex<BTreeMap<String, String>>>::default(),
            Arc::<Mutex<BTreeMap<_, usize>>>::default(),
        );
        let (shared, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        drop(thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let head = head(&mut stream);
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                *counted.lock().unwrap().entry(path.clone()).or_default() += 1;
                let body = shared.lock().unwrap().get(&path).cloned();
                let (status, body) =
                    body.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        }));
        Self {
            address,
            answers,
            asked,
        }
    }

    /// The flags that point a collector here.
    pub fn endpoint(&self, name: &str) -> [String; 2] {
        [
            "--endpoint".to_owned(),
            format!("{name}=http://{}", self.address),
        ]
    }

    /// What is answered to a path from now on.
    pub fn set(&self, path: &str, body: String) {
        let _ = self.answers.lock().unwrap().insert(path.to_owned(), body);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// What OKX lists.
    pub fn okx(&self, names: &[&str]) {
        let one = |name: &&str| {
            format!(
                r#"{{"instId":"{name}","state":"live","tickSz":"0.1","lotSz":"1","ctVal":"0.01","ctMult":"1"}}"#
            )
        };
        let (futures, swaps): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| !name.ends_with("-SWAP"));
        for (kind, names) in [("SWAP", swaps), ("FUTURES", futures)] {
            let data: Vec<String> = names.iter().map(one).collect();
            let body = format!(r#"{{"code":"0","data":[{}],"msg":""}}"#, data.join(","));
            self.set(&format!("/api/v5/public/instruments?instType={kind}"), body);
        }
    }
}

/// The head of a request.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A proxy that leads to `to`, whatever it is asked for; it notes what that was.
pub struct Proxy {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that speaks SOCKS5, or HTTP.
    pub fn new(to: SocketAddr, socks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        drop(thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let wanted = if socks {
                    socks5(&mut stream)
                } else {
                    connect(&mut stream)
                };
                noted.lock().unwrap().push(wanted);
                let Ok(there) = TcpStream::connect(to) else {
                    return;
                };
                for (mut from, mut to) in [
                    (stream.try_clone().unwrap(), there.try_clone().unwrap()),
                    (there, stream),
                ] {
                    drop(thread::spawn(move || std::io::copy(&mut from, &mut to)));
                }
            }
        }));
        Self { address, asked }
    }
}

fn connect(stream: &mut TcpStream) -> String {
    let head = head(stream);
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .unwrap();
    let login = head
        .lines()
        .find_map(|line| line.strip_prefix("Proxy-Authorization: "))
        .unwrap_or("nobody");
    format!("{} by {login}", head.split(' ').nth(1).unwrap())
}

fn socks5(stream: &mut TcpStream) -> String {
    let take = |stream: &mut TcpStream, count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    };
    let methods = usize::from(take(stream, 2)[1]);
    let _ = take(stream, methods);
    stream.write_all(&[5, 0]).unwrap();
    let length = usize::from(take(stream, 5)[4]);
    let host = String::from_utf8(take(stream, length)).unwrap();
    let port = take(stream, 2);
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).unwrap();
    format!(
        "{host}:{} by nobody",
        u16::from(port[0]) << 8 | u16::from(port[1])
    )
}
