//! A workload that reads HTTP/1.1 by the letter of RFC 9112 and repairs nothing: what it cannot read in
//! one way only, it keeps as a mistake of the sidecar's.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
};

/// A request as it was read: whole values, nothing normalised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read {
    /// Method and target.
    pub line: String,
    /// The value of its one `Host`.
    pub host: String,
    /// What came behind the head, without its framing. A character below U+0100 stands for one byte.
    pub body: String,
}

/// What came over a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// A request to its end.
    Whole(Read),
    /// It ended within a request, which nobody acts on.
    Cut,
    /// It is not HTTP/1.1, or says who calls in another way than the sidecar does.
    Mistake(String),
}

/// Serves one connection, request after request, each of which has to say that `caller` calls, once and
/// by the sidecar's header.
pub async fn serve(tcp: TcpStream, caller: String, say: mpsc::Sender<Seen>) {
    let mut stream = BufReader::new(tcp);
    loop {
        let seen = match request(&mut stream, &caller).await {
            Ok(None) => return,
            Ok(Some(seen)) => seen,
            Err(mistake) => Seen::Mistake(mistake),
        };
        let goes_on = matches!(seen, Seen::Whole(_));
        if say.send(seen).await.is_err() || !goes_on {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }
}

/// One request; `None` at the end of the connection.
async fn request(stream: &mut BufReader<TcpStream>, caller: &str) -> Result<Option<Seen>, String> {
    let mut raw = Vec::new();
    let Some(first) = line(stream, &mut raw).await? else {
        return Ok((!raw.is_empty()).then_some(Seen::Cut));
    };
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(stream, &mut raw).await? else { return Ok(Some(Seen::Cut)) };
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("{line:?} is no field"))?;
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut words = first.split(' ');
    let line = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some("HTTP/1.1"), None) => format!("{method} {target}"),
        _ => return Err(format!("{first:?} is no request")),
    };
    let all = |wanted: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| value.as_str()).collect()
    };
    let [host] = all("host")[..] else { return Err(format!("hosts of {line}: {fields:?}")) };
    let host = host.to_owned();
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some(String::new()),
        ([length], []) => {
            let length = length.parse().map_err(|_| format!("{line}: length {length:?}"))?;
            exactly(stream, length).await
        }
        ([], ["chunked"]) => chunks(stream, &mut raw).await?,
        framing => return Err(format!("{line}: {framing:?}")),
    };
    let Some(body) = body else { return Ok(Some(Seen::Cut)) };
    let callers = callers_any_app_could_read(&raw);
    if callers != [caller] {
        return Err(format!("{line}: called by {callers:?}"));
    }
    Ok(Some(Seen::Whole(Read { line, host, body })))
}

/// A line that ends in CRLF and has no other control byte, without its end.
async fn line(
    stream: &mut BufReader<TcpStream>,
    raw: &mut Vec<u8>,
) -> Result<Option<String>, String> {
    let mut read = Vec::new();
    let _ = stream.read_until(b'\n', &mut read).await; // a reset is an end, too
    raw.extend(&read);
    let Some(line) = read.strip_suffix(b"\r\n") else {
        let is_bare = read.ends_with(b"\n");
        return if is_bare { Err(format!("a bare line feed: {read:?}")) } else { Ok(None) };
    };
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(format!("a control byte: {line:?}"));
    }
    Ok(Some(line.iter().copied().map(char::from).collect()))
}

async fn exactly(stream: &mut BufReader<TcpStream>, length: usize) -> Option<String> {
    let mut body = Vec::new(); // what comes may be less than what was announced, and that much more
    stream.take(length.try_into().ok()?).read_to_end(&mut body).await.ok()?;
    (body.len() == length).then(|| body.into_iter().map(char::from).collect())
}

async fn chunks(
    stream: &mut BufReader<TcpStream>,
    raw: &mut Vec<u8>,
) -> Result<Option<String>, String> {
    let mut body = String::new();
    loop {
        let Some(size) = line(stream, raw).await? else { return Ok(None) };
        let bytes = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        if bytes == 0 {
            break;
        }
        let Some(chunk) = exactly(stream, bytes).await else { return Ok(None) };
        body.push_str(&chunk);
        let end = line(stream, raw).await?;
        match end.as_deref() {
            None => return Ok(None),
            Some("") => {}
            Some(more) => return Err(format!("{more:?} after a chunk of {bytes}")),
        }
    }
    loop {
        match line(stream, raw).await? {
            None => return Ok(None),
            Some(trailer) if trailer.is_empty() => return Ok(Some(body)),
            Some(_) => {} // who calls is looked for in `raw`
        }
    }
}

/// Who calls, by any reading that some server has of a name: all values of all lines, head and
/// trailers, whose name is one of ours once everything but its letters and digits is left out.
pub fn callers_any_app_could_read(read: &[u8]) -> Vec<String> {
    let value = |line: String| Some(line.split_once(':')?.1.trim().to_owned());
    lines_any_app_could_read(read).into_iter().filter_map(value).collect()
}

/// The same lines whole.
pub fn lines_any_app_could_read(read: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(read).replace('\r', "\n");
    let named = text.lines().filter(|line| {
        let Some((name, _)) = line.split_once(':') else { return false };
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase();
        plain == "xspiffeid" || plain == "xforwardedclientcert"
    });
    named.map(str::to_owned).collect()
}
