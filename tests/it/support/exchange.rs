//! Exchanges that misbehave to order: a WebSocket server that plays a script to each connection,
//! and spool files read back.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

use super::archive::{Decoded, decode};

/// Milliseconds of 2026-02-03, 00:00 UTC.
pub const DAY_MS: i64 = 1_770_076_800_000;

/// What a server does.
#[derive(Debug, Clone)]
pub enum Act {
    Text(String),
    Binary(Vec<u8>),
    /// Sends the beginning of a frame and cuts the connection.
    CutInFrame,
    Close,
    /// Neither sends nor answers any more.
    Mute,
    /// Sends more pings than there is room for their answers, of which it reads none, and then
    /// nothing.
    Flood,
    /// Sends whatever is published from now on.
    Live,
    /// As the first act: refuses the connection, and wants to be left alone for so many seconds.
    TooMany(u64),
    /// Waits.
    Wait(Duration),
    /// Answers what is asked for as Bybit and OKX do, and brings a trade of each topic that stands
    /// now and then. A topic is refused when the function says so, which is told how often it was
    /// asked for: Bybit then refuses the whole message.
    Answer(fn(&str, usize) -> bool),
    /// Tells which topics the connection has when it is asked, as Binance does, and brings nothing:
    /// those of the URL for which the function says so, and those that were subscribed since.
    List(fn(&str) -> bool),
}

/// A server whose connections to a path play that path's scripts, one after the other; the last one
/// is played again for every further connection. When a script has ended, the connection stays.
pub struct Exchange {
    address: SocketAddr,
    state: Arc<State>,
    live: broadcast::Sender<String>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    scripts: BTreeMap<String, Vec<Vec<Act>>>,
    begun: Mutex<BTreeMap<String, usize>>,
    drained: AtomicUsize,
    listening: AtomicUsize,
    most_listening: AtomicUsize,
    /// Topics that were asked for, and how often.
    asked: Mutex<BTreeMap<String, usize>>,
    /// When a connection was asked for.
    dialled: Mutex<Vec<Instant>>,
}

impl Exchange {
    /// Begins to listen.
    pub fn new(scripts: &[(&str, Vec<Vec<Act>>)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            scripts: scripts
                .iter()
                .map(|(path, acts)| ((*path).to_owned(), acts.clone()))
                .collect(),
            begun: Mutex::default(),
            drained: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
            most_listening: AtomicUsize::new(0),
            asked: Mutex::default(),
            dialled: Mutex::default(),
        });
        let (live, _) = broadcast::channel(100_000);
        let (shared, to_live) = (Arc::clone(&state), live.clone());
        drop(runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(
                    stream,
                    Arc::clone(&shared),
                    to_live.subscribe(),
                )));
            }
        }));
        Self {
            address,
            state,
            live,
            _runtime: runtime,
        }
    }

    /// The flags that point a collector here.
    pub fn endpoints(&self) -> Vec<String> {
        self.state
            .scripts
            .keys()
            .flat_map(|path| {
                [
                    "--endpoint".to_owned(),
                    format!("{path}=ws://{}/{path}", self.address),
                ]
            })
            .collect()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a text to every connection that listens live.
    pub fn publish(&self, text: String) {
        let _ = self.live.send(text);
    }

    /// Scripts that clients have read to their ends.
    pub fn drained(&self) -> usize {
        self.state.drained.load(Ordering::SeqCst)
    }

    /// Connections that listen live.
    pub fn listening(&self) -> usize {
        self.state.listening.load(Ordering::SeqCst)
    }

    /// The most that listened live at a time.
    pub fn most_listening(&self) -> usize {
        self.state.most_listening.load(Ordering::SeqCst)
    }

    /// Topics that were asked for, and how often.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        self.state.asked.lock().unwrap().clone()
    }

    /// When connections were asked for.
    pub fn dialled(&self) -> Vec<Instant> {
        self.state.dialled.lock().unwrap().clone()
    }

    /// Connections so far to a path.
    pub fn connections(&self, path: &str) -> usize {
        self.state
            .begun
            .lock()
            .unwrap()
            .get(path)
            .copied()
            .unwrap_or(0)
    }
}

async fn serve(stream: TcpStream, state: Arc<State>, mut live: broadcast::Receiver<String>) {
    let (path, query) = (Mutex::new(String::new()), Mutex::new(String::new()));
    #[expect(clippy::result_large_err, reason = "the shape that the library wants")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let asked = request.uri().path().trim_matches('/').to_owned();
        let begun = state
            .begun
            .lock()
            .unwrap()
            .get(&asked)
            .copied()
            .unwrap_or(0);
        let scripts = &state.scripts[&asked];
        if let Some(Act::TooMany(seconds)) = scripts[begun.min(scripts.len() - 1)].first() {
            *state.begun.lock().unwrap().entry(asked).or_default() += 1;
            let refusal = http::Response::builder().status(429);
            return Err(refusal
                .header("Retry-After", seconds.to_string())
                .body(None)
                .unwrap());
        }
        *path.lock().unwrap() = asked;
        request
            .uri()
            .query()
            .unwrap_or_default()
            .clone_into(&mut query.lock().unwrap());
        Ok(response)
    };
    state.dialled.lock().unwrap().push(Instant::now());
    let Ok(mut socket) = accept_hdr_async(stream, look).await else {
        return;
    };
    let path = path.into_inner().unwrap();
    let script = {
        let mut begun = state.begun.lock().unwrap();
        let number = begun.entry(path.clone()).or_default();
        *number += 1;
        let scripts = &state.scripts[&path];
        scripts[(*number - 1).min(scripts.len() - 1)].clone()
    };
    for act in script {
        match act {
            Act::Text(text) => drop(socket.feed(Message::from(text)).await),
            Act::Binary(bytes) => drop(socket.feed(Message::from(bytes)).await),
            Act::CutInFrame => {
                let _ = socket.flush().await;
                // A text frame of 100 bytes, of which 3 come.
                let _ = socket
                    .get_mut()
                    .write_all(&[0x81, 100, b'{', b'"', b's'])
                    .await;
                return;
            }
            Act::Close => {
                let _ = socket.close(None).await;
                return;
            }
            Act::Mute => {
                let _ = socket.flush().await;
                // The client gives up; nobody reads its pings until then.
                tokio::time::sleep(Duration::from_mins(10)).await;
                return;
            }
            Act::Flood => {
                for _ in 0..100_000 {
                    let _ = socket.feed(Message::Ping(vec![b'x'; 100].into())).await;
                }
                let _ = socket.flush().await;
                tokio::time::sleep(Duration::from_mins(10)).await;
                return;
            }
            // The handshake has dealt with it.
            Act::TooMany(_) => return,
            Act::Wait(time) => {
                let _ = socket.flush().await;
                tokio::time::sleep(time).await;
            }
            Act::Answer(refuses) => {
                answer(&mut socket, &state, refuses).await;
                return;
            }
            Act::List(has) => {
                let query = query.lock().unwrap().clone();
                let topics = query.trim_start_matches("streams=").split('/');
                list(
                    &mut socket,
                    &state,
                    topics
                        .filter(|topic| has(topic))
                        .map(str::to_owned)
                        .collect(),
                )
                .await;
                return;
            }
            Act::Live => {
                let _ = socket.flush().await;
                let now = state.listening.fetch_add(1, Ordering::SeqCst) + 1;
                let _ = state.most_listening.fetch_max(now, Ordering::SeqCst);
                listen(&mut socket, &mut live).await;
                let _ = state.listening.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    }
    // Whoever answers this has read everything before it.
    let _ = socket.send(Message::Ping(b"end".as_slice().into())).await;
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Pong(_)) {
            let _ = state.drained.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(
    socket: &mut WebSocketStream<TcpStream>,
    state: &State,
    refuses: fn(&str, usize) -> bool,
) {
    let mut standing: Vec<Value> = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut number = 0;
    loop {
        let texts: Vec<String> = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str::<Value>(&text) {
                    Ok(asked) if asked["op"] == "subscribe" => {
                        let topics = asked["args"].as_array().unwrap().clone();
                        let count = |topic: &Value| {
                            let name = name_of(topic);
                            let mut all = state.asked.lock().unwrap();
                            let times = all.entry(name.clone()).or_default();
                            *times += 1;
                            refuses(&name, *times)
                        };
                        let refused: Vec<bool> = topics.iter().map(count).collect();
                        answers(&asked, &topics, &refused, &mut standing)
                    }
                    _ => vec!["pong".to_owned()],
                },
                Some(Ok(_)) => Vec::new(),
                _ => return,
            },
            _ = tick.tick() => {
                number += 1;
                standing.iter().map(|topic| trade_of(topic, number)).collect()
            }
        };
        for text in texts {
            if socket.send(Message::from(text)).await.is_err() {
                return;
            }
        }
    }
}

async fn list(socket: &mut WebSocketStream<TcpStream>, state: &State, mut topics: Vec<String>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let asked: Value = serde_json::from_str(&text).unwrap();
        let result = if asked["method"] == "LIST_SUBSCRIPTIONS" {
            json!(topics)
        } else {
            for name in asked["params"].as_array().unwrap() {
                let name = name.as_str().unwrap().to_owned();
                *state.asked.lock().unwrap().entry(name.clone()).or_default() += 1;
                topics.push(name);
            }
            Value::Null
        };
        let answer = json!({ "result": result, "id": asked["id"] }).to_string();
        if socket.send(Message::from(answer)).await.is_err() {
            return;
        }
    }
}

/// A topic as a text: `publicTrade.BTCUSDT`, `trades BTC-USDT-SWAP`.
fn name_of(topic: &Value) -> String {
    match topic {
        Value::String(name) => name.clone(),
        other => format!(
            "{} {}",
            other["channel"].as_str().unwrap(),
            other["instId"].as_str().unwrap()
        ),
    }
}

fn answers(
    asked: &Value,
    topics: &[Value],
    refused: &[bool],
    standing: &mut Vec<Value>,
) -> Vec<String> {
    if topics.iter().all(Value::is_string) {
        let fine = !refused.contains(&true);
        if fine {
            standing.extend(topics.iter().cloned());
        }
        let why = if fine { "" } else { "error:handler not found" };
        let answer = json!({ "success": fine, "ret_msg": why, "conn_id": "c", "req_id": asked["req_id"], "op": "subscribe" });
        return vec![answer.to_string()];
    }
    let each = topics.iter().zip(refused).map(|(topic, refused)| {
        if *refused {
            json!({ "event": "error", "code": "60014", "msg": "Requests \"too\" frequent", "connId": "c" }).to_string()
        } else {
            standing.push(topic.clone());
            json!({ "event": "subscribe", "arg": topic, "connId": "c" }).to_string()
        }
    });
    each.collect()
}

/// The n-th trade of a topic.
fn trade_of(topic: &Value, n: i64) -> String {
    let time = DAY_MS + n;
    match topic {
        Value::String(name) => {
            let symbol = name.rsplit('.').next().unwrap();
            json!({ "topic": name, "type": "snapshot", "ts": time, "data": [{ "T": time, "s": symbol, "S": "Buy", "v": "1",
                "p": "1.5", "i": n.to_string(), "seq": n }] })
        }
        arg => json!({ "arg": arg, "data": [{ "instId": arg["instId"], "tradeId": n.to_string(), "px": "1.5", "sz": "1",
            "side": "buy", "ts": time.to_string() }] }),
    }
    .to_string()
}

async fn listen(socket: &mut WebSocketStream<TcpStream>, live: &mut broadcast::Receiver<String>) {
    loop {
        tokio::select! {
            text = live.recv() => match text {
                Ok(text) if socket.send(Message::from(text.clone())).await.is_ok() => {}
                _ => return,
            },
            message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}

/// Asks a process to end, and returns its exit code and what it said on stderr.
#[track_caller]
pub fn terminate(child: Child) -> (Option<i32>, String) {
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    );
    ended(child)
}

/// Waits for a process to end by itself.
pub fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    )
}

/// Waits until something holds, or the process has ended; for five minutes at most.
#[track_caller]
pub fn until(child: &mut Child, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() && child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_mins(5) {
            let _ = child.kill();
            panic!("what was waited for has not come within five minutes");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address that nobody listens on.
pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// What a collector's server answers, if it does.
pub fn get(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Its status.
pub fn status(address: &str) -> Option<Value> {
    let answer = get(address, "/status")?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Events that a collector has dealt with in some way: taken, known already, or without room.
pub fn dealt_with(address: &str) -> u64 {
    let Some(status) = status(address) else {
        return 0;
    };
    let feeds = status["feeds"].as_array().cloned().unwrap_or_default();
    let of = |feed: &Value| {
        ["events", "duplicates", "dropped"]
            .map(|key| feed[key].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    feeds.iter().map(of).sum()
}

/// All files of a stream in a spool, each read to its end.
pub fn files(spool: &Path, exchange: &str, stream: &str) -> BTreeMap<String, Decoded> {
    let folder = spool.join(format!(
        "exchange={exchange}/stream={stream}/symbol=btcusdt"
    ));
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            Path::new(&name).extension().is_some_and(|e| e == "parquet"),
            "{name} is left over"
        );
        let path = spool.join(format!(
            "exchange={exchange}/stream={stream}/symbol=btcusdt/{name}"
        ));
        let _ = found.insert(name, decode(&fs::read(path).unwrap()).unwrap());
    }
    found
}

/// The numbers of all trades in a spool, in the order of `seq`, which must ascend strictly.
#[track_caller]
pub fn trades(spool: &Path, exchange: &str) -> Vec<u64> {
    let mut rows: Vec<(i64, u64)> = Vec::new();
    for file in files(spool, exchange, "trade").values() {
        let seq = file
            .batch
            .column_by_name("seq")
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone();
        let ids = file
            .batch
            .column_by_name("trade_id")
            .unwrap()
            .as_string::<i32>()
            .clone();
        rows.extend(
            seq.values()
                .iter()
                .copied()
                .zip(ids.iter().map(|id| id.unwrap().parse::<u64>().unwrap())),
        );
    }
    rows.sort_unstable();
    assert!(
        rows.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "a seq was given twice"
    );
    rows.into_iter().map(|(_, id)| id).collect()
}

/// Lines of JSON of all files in a folder of the spool whose names begin so.
pub fn notes(spool: &Path, begin: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(spool.join("_feed")).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(begin)
        {
            let text = fs::read_to_string(&path).unwrap();
            lines.extend(
                text.lines().map(|line| {
                    serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))
                }),
            );
        }
    }
    lines
}

/// A trade of Binance.
pub fn binance_trade(id: u64) -> String {
    let time = DAY_MS + i64::try_from(id).unwrap() * 10;
    format!(
        r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":{time},"s":"BTCUSDT","a":{id},"p":"97000.{id}","q":"0.001","f":{id},"l":{id},"T":{time},"m":true}}}}"#
    )
}

/// A mark price, and with it a funding rate, of Binance.
pub fn binance_mark(nth: u64) -> String {
    let time = DAY_MS + i64::try_from(nth).unwrap() * 1000;
    format!(
        r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{time},"s":"BTCUSDT","p":"97000.{nth}","i":"97001.5","P":"1","r":"0.0001","T":{time}}}}}"#
    )
}

/// A trade of OKX.
pub fn okx_trade(id: u64) -> String {
    let time = DAY_MS + i64::try_from(id).unwrap() * 10;
    format!(
        r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT-SWAP"}},"data":[{{"instId":"BTC-USDT-SWAP","tradeId":"{id}","px":"97000.5","sz":"1","side":"buy","ts":"{time}"}}]}}"#
    )
}

/// Several trades of Binance.
pub fn binance_trades(ids: impl IntoIterator<Item = u64>) -> Vec<Act> {
    ids.into_iter()
        .map(|id| Act::Text(binance_trade(id)))
        .collect()
}
