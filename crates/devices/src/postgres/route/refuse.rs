//! How a client is told, in PostgreSQL's protocol, that it cannot be led to a primary.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody is known to be writable.
    NoPrimary,
    /// The primary does not answer.
    Unreachable,
    /// There are too many connections.
    Full,
}

impl Refusal {
    /// The state and the message that the client's driver shows.
    const fn says(self) -> (&'static str, &'static str) {
        match self {
            // cannot_connect_now
            Self::NoPrimary => ("57P03", "no node is writable at present; try again in a few seconds"),
            Self::Unreachable => ("57P03", "the primary cannot be reached at present; try again in a few seconds"),
            // too_many_connections
            Self::Full => ("53300", "too many connections through this node's route"),
        }
    }

    fn message(self) -> Vec<u8> {
        let (state, text) = self.says();
        let mut body = Vec::new();
        for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', state), (b'M', text)] {
            body.push(field);
            body.extend(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut message = vec![b'E'];
        // The texts are above, and short.
        message.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
        message.extend(body);
        message
    }
}

/// Answers the client's first message with why it is refused.
pub(super) async fn refuse(mut client: impl AsyncRead + AsyncWrite + Unpin, why: Refusal) {
    // A client that does not behave is closed without a word.
    let _closed = timeout(WITHIN, answer(&mut client, why)).await;
}

async fn answer(client: &mut (impl AsyncRead + AsyncWrite + Unpin), why: Refusal) -> std::io::Result<()> {
    for _ in 0..OFFERS_MAX {
        let length = client.read_u32().await?;
        let code = client.read_u32().await?;
        if !(8..=STARTUP_BYTES_MAX).contains(&length) {
            return Ok(());
        }
        let mut rest = client.take(u64::from(length) - 8);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        match code {
            // It offers to encrypt: not here.
            SSL_REQUEST | GSS_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => return Ok(()),
            _ => {
                client.write_all(&why.message()).await?;
                return client.shutdown().await;
            }
        }
    }
    Ok(())
}

/// How long telling it may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How many kinds of encryption a client may offer.
const OFFERS_MAX: usize = 3;
/// The longest first message, in bytes, as PostgreSQL has it.
const STARTUP_BYTES_MAX: u32 = 10_000;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        refuse(server, Refusal::NoPrimary).await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    }

    fn message(code: u32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(rest.len() + 8).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    #[tokio::test]
    async fn a_client_is_told_in_its_own_language() {
        let startup = message(196_608, b"user\0x\0\0");
        let plain = told(&startup).await;
        assert_eq!(plain[0], b'E');
        assert_eq!(u32::from_be_bytes(plain[1..5].try_into().unwrap()) as usize, plain.len() - 1);
        let text = String::from_utf8_lossy(&plain).into_owned();
        assert!(text.contains("C57P03\0") && text.contains("no node is writable"), "{text}");

        let offered = told(&[message(SSL_REQUEST, b""), message(GSS_REQUEST, b""), startup].concat()).await;
        assert!(offered.starts_with(b"NNE"), "{offered:?}");
    }

    #[tokio::test]
    async fn who_does_not_behave_is_told_nothing() {
        for sent in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 1, 0, 0, 0, 0], &message(CANCEL_REQUEST, &[0; 8])]
        {
            assert!(told(sent).await.is_empty(), "{sent:?}");
        }
        let many = message(SSL_REQUEST, b"").repeat(9);
        assert_eq!(told(&many).await, b"NNN");
    }
}
