//! How ranks that know one address meet: rank 0 listens there, and hands everybody the same bytes.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::CommunicatorError;

/// What a rank says first, so that nobody else is taken for one.
const GREETING: &[u8; 8] = b"kadapter";
/// How long ranks wait for each other: machines of a cluster do not start at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// How long one that is connected may take to say who it is.
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Gives `bytes` of rank 0 to every other rank.
pub(super) fn share<const N: usize>(
    address: &str,
    rank: usize,
    size: usize,
    bytes: &mut [u8; N],
    patience: Duration,
) -> Result<(), CommunicatorError> {
    let (rank, size) = (u32::try_from(rank).unwrap_or(u32::MAX), u32::try_from(size).unwrap_or(u32::MAX));
    if rank == 0 { give(address, size, bytes, patience) } else { take(address, rank, size, bytes, patience) }
}

fn meet<'a>(action: &'static str, address: &'a str) -> impl Fn(std::io::Error) -> CommunicatorError + 'a {
    move |source| CommunicatorError::Meet { action, address: address.to_owned(), source }
}

fn give(address: &str, size: u32, bytes: &[u8], patience: Duration) -> Result<(), CommunicatorError> {
    // On every interface: the name may be one of which this machine itself thinks otherwise.
    let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("0.0.0.0", port)).map_err(meet("listen for other ranks at", address))?;
    listener.set_nonblocking(true).map_err(meet("listen for other ranks at", address))?;
    let (deadline, mut came) = (Instant::now() + patience, BTreeSet::new());
    while came.len() + 1 < size as usize {
        match listener.accept() {
            Ok((stream, _)) => {
                // Whoever does not greet is none of the ranks.
                let Ok((rank, found)) = greeted(&stream) else { continue };
                if found != size || rank == 0 || rank >= size || came.contains(&rank) {
                    let address = address.to_owned();
                    return Err(CommunicatorError::Stranger { address, rank, size: found, expected: size });
                }
                if (&stream).write_all(bytes).is_ok() {
                    came.insert(rank);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() > deadline {
                    return Err(CommunicatorError::Missing {
                        address: address.to_owned(),
                        came: came.len() + 1,
                        expected: size as usize,
                        seconds: patience.as_secs(),
                    });
                }
                sleep(PAUSE);
            }
            Err(error) => return Err(meet("listen for other ranks at", address)(error)),
        }
    }
    Ok(())
}

/// Which rank of how many has come.
fn greeted(mut stream: &TcpStream) -> std::io::Result<(u32, u32)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut greeting = [0; 16];
    stream.read_exact(&mut greeting)?;
    if greeting[..8] != *GREETING {
        return Err(ErrorKind::InvalidData.into());
    }
    let part = |from: usize| u32::from_le_bytes(std::array::from_fn(|place| greeting[from + place]));
    Ok((part(8), part(12)))
}

fn take(address: &str, rank: u32, size: u32, bytes: &mut [u8], patience: Duration) -> Result<(), CommunicatorError> {
    let deadline = Instant::now() + patience;
    let refuse = meet("reach rank 0 at", address);
    loop {
        match try_take(address, rank, size, bytes, patience) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(refuse(error)),
            // Rank 0 may not be there yet.
            Err(_) => sleep(PAUSE),
        }
    }
}

fn try_take(address: &str, rank: u32, size: u32, bytes: &mut [u8], patience: Duration) -> std::io::Result<()> {
    let address = address.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(patience))?;
    let mut greeting = GREETING.to_vec();
    greeting.extend(rank.to_le_bytes());
    greeting.extend(size.to_le_bytes());
    stream.write_all(&greeting)?;
    stream.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::{CommunicatorError, share};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    /// An address that is free now.
    fn address() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn every_rank_has_the_bytes_of_the_first() {
        let address = address();
        let ranks: Vec<_> = [2, 1, 0]
            .into_iter()
            .map(|rank| {
                let address = address.clone();
                thread::spawn(move || {
                    let mut bytes = [rank as u8 + 7; 128];
                    share(&address, rank, 3, &mut bytes, LONG).map(|()| bytes)
                })
            })
            .collect();
        // Somebody else knocks.
        for _ in 0..100 {
            if let Ok(mut stream) = TcpStream::connect(&address) {
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_or_default();
                break;
            }
        }
        for rank in ranks {
            assert_eq!(rank.join().unwrap().unwrap(), [7; 128]);
        }
    }

    #[test]
    fn who_does_not_come_is_not_waited_for() {
        let error = share(&address(), 0, 3, &mut [0; 4], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CommunicatorError::Missing { came: 1, expected: 3, .. }), "{error}");
        let error = share(&address(), 1, 3, &mut [0; 4], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, CommunicatorError::Meet { action: "reach rank 0 at", .. }), "{error}");
    }

    #[test]
    fn a_rank_of_another_run_is_refused() {
        let address = address();
        let other = address.clone();
        let other = thread::spawn(move || share(&other, 1, 5, &mut [0; 4], Duration::from_millis(500)));
        let error = share(&address, 0, 2, &mut [0; 4], LONG).unwrap_err();
        assert!(matches!(error, CommunicatorError::Stranger { rank: 1, size: 5, expected: 2, .. }), "{error}");
        assert!(other.join().unwrap().is_err());
    }
}
