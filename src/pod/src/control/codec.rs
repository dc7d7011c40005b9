//! Requests and replies, in and out of bytes. The parser is total: whatever
//! comes is a value or a fault, and it allocates no more than it was given.
//!
//! One byte says which; then fields in order: a text is its length (2 bytes,
//! big endian) and UTF-8, a number 4 bytes big endian, a switch one byte 0 or
//! 1, a list a count (2 bytes) and its members.

use model::{AcName, Fault, fault::Result};

/// Longest frame without its length.
pub const MAX_FRAME: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take up an app that stands in the manifest; it is not started.
    AddApp {
        app: AcName,
    },
    StartApp {
        app: AcName,
    },
    /// In order, by its stop signal, or at once.
    StopApp {
        app: AcName,
        force: bool,
    },
    /// Forget an app that does not run.
    RemoveApp {
        app: AcName,
    },
    List,
    /// Hand out what is needed to run a command as this app does.
    Enter {
        app: AcName,
    },
    /// End the pod.
    Stop {
        force: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok,
    /// Text of the failure.
    Error(String),
    Apps(Vec<AppStatus>),
    /// The app's pid as the supervisor sees it, and what each fd that came
    /// along is, in order.
    Entered {
        pid: i32,
        fds: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    Created,
    Running,
    Exited,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppStatus {
    pub app: AcName,
    pub state: AppState,
    /// As the supervisor sees it, while running.
    pub pid: Option<i32>,
    /// Once exited.
    pub exit: Option<i32>,
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::default();
        match self {
            Request::AddApp { app } => out.byte(1).text(app.as_str()),
            Request::StartApp { app } => out.byte(2).text(app.as_str()),
            Request::StopApp { app, force } => out.byte(3).text(app.as_str()).flag(*force),
            Request::RemoveApp { app } => out.byte(4).text(app.as_str()),
            Request::List => out.byte(5),
            Request::Enter { app } => out.byte(6).text(app.as_str()),
            Request::Stop { force } => out.byte(7).flag(*force),
        };
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Request> {
        let mut input = In(bytes);
        let request = match input.byte()? {
            1 => Request::AddApp { app: input.app()? },
            2 => Request::StartApp { app: input.app()? },
            3 => Request::StopApp {
                app: input.app()?,
                force: input.flag()?,
            },
            4 => Request::RemoveApp { app: input.app()? },
            5 => Request::List,
            6 => Request::Enter { app: input.app()? },
            7 => Request::Stop {
                force: input.flag()?,
            },
            other => return Err(Fault::unsupported(format!("unknown request {other}"))),
        };
        input.end()?;
        Ok(request)
    }
}

impl Reply {
    /// A reply that would not fit becomes an error that does.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::default();
        match self {
            Reply::Ok => out.byte(1),
            Reply::Error(text) => out.byte(2).text(text),
            Reply::Apps(apps) => {
                out.byte(3).count(apps.len());
                for app in apps {
                    out.text(app.app.as_str()).byte(app.state.code());
                    out.number(app.pid).number(app.exit);
                }
                &mut out
            }
            Reply::Entered { pid, fds } => {
                out.byte(4).number(Some(*pid)).count(fds.len());
                for fd in fds {
                    out.text(fd);
                }
                &mut out
            }
        };
        if out.0.len() > MAX_FRAME {
            return Reply::Error("the answer is too long".to_string()).encode();
        }
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Reply> {
        let mut input = In(bytes);
        let reply = match input.byte()? {
            1 => Reply::Ok,
            2 => Reply::Error(input.text()?),
            3 => {
                let count = input.count()?;
                Reply::Apps((0..count).map(|_| input.status()).collect::<Result<_>>()?)
            }
            4 => {
                let pid = input
                    .number()?
                    .ok_or_else(|| Fault::invalid("a pid is missing"))?;
                let count = input.count()?;
                let fds = (0..count).map(|_| input.text()).collect::<Result<_>>()?;
                Reply::Entered { pid, fds }
            }
            other => return Err(Fault::unsupported(format!("unknown reply {other}"))),
        };
        input.end()?;
        Ok(reply)
    }
}

impl AppState {
    fn code(self) -> u8 {
        match self {
            AppState::Created => 0,
            AppState::Running => 1,
            AppState::Exited => 2,
        }
    }

    fn from_code(code: u8) -> Result<AppState> {
        [AppState::Created, AppState::Running, AppState::Exited]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| Fault::invalid(format!("unknown app state {code}")))
    }
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn byte(&mut self, byte: u8) -> &mut Out {
        self.0.push(byte);
        self
    }

    fn flag(&mut self, on: bool) -> &mut Out {
        self.byte(u8::from(on))
    }

    fn count(&mut self, count: usize) -> &mut Out {
        // More would not fit into a frame, which is checked at the end.
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&count.to_be_bytes());
        self
    }

    /// Cut at 32 KiB, between characters: only texts of errors are so long.
    fn text(&mut self, text: &str) -> &mut Out {
        let end = (0..=text.len().min(32 << 10))
            .rev()
            .find(|at| text.is_char_boundary(*at));
        let text = &text[..end.unwrap_or(0)];
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A switch, then the number if there is one.
    fn number(&mut self, number: Option<i32>) -> &mut Out {
        self.flag(number.is_some());
        if let Some(number) = number {
            self.0.extend_from_slice(&number.to_be_bytes());
        }
        self
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| Fault::invalid("frame is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Fault::invalid(format!("{other} is no switch"))),
        }
    }

    fn count(&mut self) -> Result<usize> {
        let bytes = self.take(2)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn text(&mut self) -> Result<String> {
        let len = self.count()?;
        let text = std::str::from_utf8(self.take(len)?);
        text.map(String::from)
            .map_err(|_| Fault::invalid("a text is not UTF-8"))
    }

    fn app(&mut self) -> Result<AcName> {
        AcName::new(&self.text()?)
    }

    fn number(&mut self) -> Result<Option<i32>> {
        if !self.flag()? {
            return Ok(None);
        }
        let bytes = self.take(4)?;
        Ok(Some(i32::from_be_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3],
        ])))
    }

    fn status(&mut self) -> Result<AppStatus> {
        Ok(AppStatus {
            app: self.app()?,
            state: AppState::from_code(self.byte()?)?,
            pid: self.number()?,
            exit: self.number()?,
        })
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::invalid("frame is too long"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn requests() -> Vec<Request> {
        let app = AcName::new("redis-1").unwrap();
        vec![
            Request::AddApp { app: app.clone() },
            Request::StartApp { app: app.clone() },
            Request::StopApp {
                app: app.clone(),
                force: true,
            },
            Request::RemoveApp { app: app.clone() },
            Request::List,
            Request::Enter { app },
            Request::Stop { force: false },
        ]
    }

    fn replies() -> Vec<Reply> {
        let app = AcName::new("a").unwrap();
        let running = AppStatus {
            app: app.clone(),
            state: AppState::Running,
            pid: Some(7),
            exit: None,
        };
        let exited = AppStatus {
            app,
            state: AppState::Exited,
            pid: None,
            exit: Some(-1),
        };
        vec![
            Reply::Ok,
            Reply::Error("immutable pod".into()),
            Reply::Apps(vec![]),
            Reply::Apps(vec![running, exited]),
            Reply::Entered {
                pid: 9,
                fds: vec!["mnt".into(), "pid".into()],
            },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for request in requests() {
            assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        }
        for reply in replies() {
            assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
        }
    }

    /// Every cut, every added byte and every changed byte of every message
    /// gives a value or a fault.
    #[test]
    fn the_parser_is_total() {
        let messages = requests().iter().map(Request::encode).collect::<Vec<_>>();
        let messages = messages
            .into_iter()
            .chain(replies().into_iter().map(|reply| reply.encode()));
        for message in messages {
            for end in 0..message.len() {
                assert!(Request::decode(&message[..end]).is_err() || end > 0);
                let _ = Reply::decode(&message[..end]);
            }
            let longer = [&message[..], b"\0"].concat();
            assert!(Request::decode(&longer).is_err());
            for at in 0..message.len() {
                for byte in 0..=255 {
                    let mut changed = message.clone();
                    changed[at] = byte;
                    if let Ok(request) = Request::decode(&changed) {
                        assert_eq!(request.encode(), changed);
                    }
                    if let Ok(reply) = Reply::decode(&changed) {
                        assert_eq!(reply.encode(), changed);
                    }
                }
            }
        }
    }

    #[test]
    fn long_replies_stay_within_a_frame() {
        let text = "ä".repeat(40_000);
        let bytes = Reply::Error(text).encode();
        assert!(bytes.len() <= MAX_FRAME);
        assert!(matches!(Reply::decode(&bytes).unwrap(), Reply::Error(_)));
        let fds = vec!["x".repeat(1000); 100];
        let bytes = Reply::Entered { pid: 1, fds }.encode();
        assert!(matches!(Reply::decode(&bytes).unwrap(), Reply::Error(_)));
    }
}
