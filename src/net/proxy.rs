//! Proxies: which one a host is reached through, and the way there. HTTP proxies are asked to
//! tunnel (CONNECT), SOCKS5 proxies to connect; both are given the host's name, so that they look
//! it up.

use std::{io, net::IpAddr, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use crate::error::{Error, Result};

/// A proxy that does not answer by then is taken for absent.
const ANSWER: Duration = Duration::from_secs(10);
/// An answer of a proxy has no longer head.
const LONGEST: usize = 8192;

/// The proxies of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For wss:// and https://.
    secure: Option<Proxy>,
    /// For ws:// and http://.
    plain: Option<Proxy>,
    /// Hosts that are reached without one.
    except: Vec<String>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    /// Name and password.
    login: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Socks5,
}

/// Whether a host, as a URL or an option names it, is this machine by its loopback.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Proxies {
    /// Proxies as the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` name them;
    /// empty ones say nothing.
    ///
    /// # Errors
    /// When one is not the URL of a proxy.
    pub fn of(
        secure: Option<&str>,
        plain: Option<&str>,
        all: Option<&str>,
        except: Option<&str>,
    ) -> Result<Self> {
        let said = |text: &&str| !text.is_empty();
        let [secure, plain] = [secure, plain].map(|text| text.filter(said).or(all.filter(said)));
        let parsed = |text: Option<&str>| text.map(Proxy::parse).transpose();
        let except = except
            .unwrap_or_default()
            .split(',')
            .map(|host| host.trim().trim_start_matches('.').to_lowercase());
        let except = except.filter(|host| !host.is_empty()).collect();
        Ok(Self {
            secure: parsed(secure)?,
            plain: parsed(plain)?,
            except,
        })
    }

    /// The proxy for a host. This machine is always reached without one.
    fn for_host<'a>(&'a self, host: &str, secure: bool) -> Option<&'a Proxy> {
        let host = host.trim_matches(['[', ']']).to_lowercase();
        let is_except = |except: &String| {
            *except == "*"
                || host == *except
                || host
                    .strip_suffix(except.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        if is_loopback(&host) || self.except.iter().any(is_except) {
            return None;
        }
        if secure {
            self.secure.as_ref()
        } else {
            self.plain.as_ref()
        }
    }

    /// A connection to a host, through its proxy where it has one.
    ///
    /// # Errors
    /// When there is no way to it.
    pub(super) async fn connect(
        &self,
        host: &str,
        port: u16,
        secure: bool,
    ) -> io::Result<TcpStream> {
        let bare = host.trim_matches(['[', ']']);
        let Some(proxy) = self.for_host(host, secure) else {
            return TcpStream::connect((bare, port)).await;
        };
        let shown = format!("the proxy {}:{}", proxy.host, proxy.port);
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{shown}: {e}"));
        let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port))
            .await
            .map_err(told)?;
        let through = async {
            match proxy.kind {
                Kind::Connect => proxy.tunnel(&mut stream, host, port).await,
                Kind::Socks5 => proxy.socks(&mut stream, bare, port).await,
            }
        };
        let through = timeout(ANSWER, through)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("does not answer")));
        through.map_err(told)?;
        Ok(stream)
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self> {
        // Not repeated: it may hold a password.
        let wrong = || {
            Error::usage(
                "a proxy is written http://host:port or socks5://host:port, with name:password@ before the host if it wants \
                 them; look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
            )
        };
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|_| wrong())?;
        let (kind, usual) = match url.scheme() {
            "http" => (Kind::Connect, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(wrong()),
        };
        let host = url
            .host_str()
            .ok_or_else(wrong)?
            .trim_matches(['[', ']'])
            .to_owned();
        let login = (!url.username().is_empty()).then(|| {
            (
                decoded(url.username()),
                decoded(url.password().unwrap_or_default()),
            )
        });
        Ok(Self {
            kind,
            host,
            port: url.port().unwrap_or(usual),
            login,
        })
    }

    async fn tunnel(&self, stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
        let login = self
            .login
            .as_ref()
            .map_or_else(String::new, |(name, password)| {
                format!(
                    "Proxy-Authorization: Basic {}\r\n",
                    BASE64_STANDARD.encode(format!("{name}:{password}"))
                )
            });
        let request =
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // One by one: what comes behind the head is the exchange's.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > LONGEST {
                return Err(io::Error::other("its answer has no end"));
            }
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "answers {}",
            head.lines().next().unwrap_or_default()
        )))
    }

    async fn socks(&self, stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
        let wrong = |what: &str| io::Error::other(what.to_owned());
        let methods: &[u8] = if self.login.is_some() {
            &[5, 2, 0, 2]
        } else {
            &[5, 1, 0]
        };
        stream.write_all(methods).await?;
        let mut chosen = [0; 2];
        let _ = stream.read_exact(&mut chosen).await?;
        match (chosen, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some((name, password))) => {
                let short = |text: &str| {
                    u8::try_from(text.len()).map_err(|_| wrong("name or password are too long"))
                };
                let mut request = vec![1, short(name)?];
                request.extend(name.as_bytes());
                request.push(short(password)?);
                request.extend(password.as_bytes());
                stream.write_all(&request).await?;
                let mut answer = [0; 2];
                let _ = stream.read_exact(&mut answer).await?;
                if answer != [1, 0] {
                    return Err(wrong("refuses name and password"));
                }
            }
            _ => {
                return Err(wrong(
                    "wants another way of authentication, or is no SOCKS5 proxy",
                ));
            }
        }
        let mut request = vec![5, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Err(_) => {
                request.extend([
                    3,
                    u8::try_from(host.len()).map_err(|_| wrong("the host's name is too long"))?,
                ]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut answer = [0; 4];
        let _ = stream.read_exact(&mut answer).await?;
        let [5, code, _, kind] = answer else {
            return Err(wrong("is no SOCKS5 proxy"));
        };
        if code != 0 {
            return Err(io::Error::other(format!(
                "does not connect to {host}:{port} (code {code})"
            )));
        }
        let length = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(stream.read_u8().await?),
            _ => return Err(wrong("is no SOCKS5 proxy")),
        };
        // The address that it connects from, and the port.
        let mut rest = vec![0; length + 2];
        let _ = stream.read_exact(&mut rest).await?;
        Ok(())
    }
}

/// A part of a URL without its percent signs.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_proxy() {
        let proxies = Proxies::of(
            Some("http://p%40x:s:e@proxy:3128"),
            None,
            Some("socks5://s"),
            Some("okx.com, .bybit.com,10.0.0.1"),
        )
        .unwrap();
        let of = |host: &str, secure| -> Option<(String, u16)> {
            proxies
                .for_host(host, secure)
                .map(|proxy| (proxy.host.clone(), proxy.port))
        };
        assert_eq!(
            of("fstream.binance.com", true),
            Some(("proxy".to_owned(), 3128))
        );
        assert_eq!(
            of("fstream.binance.com", false),
            Some(("s".to_owned(), 1080))
        );
        for direct in [
            "ws.okx.com",
            "OKX.com",
            "stream.bybit.com",
            "10.0.0.1",
            "localhost",
            "127.0.0.1",
            "[::1]",
        ] {
            assert_eq!(of(direct, true), None, "{direct}");
        }
        assert_eq!(of("notokx.com", true), Some(("proxy".to_owned(), 3128)));
        assert_eq!(
            proxies.secure.as_ref().unwrap().login,
            Some(("p@x".to_owned(), "s:e".to_owned()))
        );
        assert_eq!(
            Proxies::of(None, None, None, None).unwrap(),
            Proxies::default()
        );
        assert_eq!(
            Proxies::of(Some(""), None, Some(""), Some("")).unwrap(),
            Proxies::default()
        );
        assert_eq!(
            Proxies::of(Some("proxy:8080"), None, None, None)
                .unwrap()
                .secure
                .unwrap()
                .port,
            8080
        );
        for wrong in ["ftp://me:secret@x", "socks4://me:secret@x", "http://"] {
            let refused = Proxies::of(Some(wrong), None, None, None)
                .unwrap_err()
                .chain();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn logins_are_encoded() {
        for (plain, encoded) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("abc", "YWJj"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(BASE64_STANDARD.encode(plain), encoded);
        }
        assert_eq!(
            (decoded("a%20b%"), decoded("%zz")),
            ("a b%".to_owned(), "%zz".to_owned())
        );
    }
}
