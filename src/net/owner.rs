//! Who has a port: what the system tells in `/proc` (Linux). Another user's programs are told to root alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A protocol whose ports can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP; listeners only.
    Tcp,
}

/// A program that has a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name, as `ps` shows it.
    pub name: String,
    /// Its process id.
    pub process: u32,
}

/// The program that stands in the way of binding `address`, if the system tells.
#[must_use]
pub fn owner_of(protocol: Protocol, address: SocketAddr) -> Option<Owner> {
    let tables = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let text: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    let inodes = inodes(&text, protocol, address);
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let is_it = |link: std::path::PathBuf| {
            inodes.iter().any(|i| link.as_os_str() == format!("socket:[{i}]").as_str())
        };
        files.any(|file| fs::read_link(file.path()).is_ok_and(is_it)).then(|| Owner {
            name: fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned(),
            process,
        })
    })
}

/// The sockets of a table that have the port on this address or on all, or on any when all are asked for.
fn inodes(table: &str, protocol: Protocol, address: SocketAddr) -> Vec<u64> {
    let stands_in_the_way =
        |ip: IpAddr| ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (ip, port) = read_address(words.nth(1)?)?;
            let state = words.nth(1)?;
            let inode: u64 = words.nth(5)?.parse().ok()?;
            let is_taken = protocol == Protocol::Udp || state == "0A";
            (is_taken && port == address.port() && stands_in_the_way(ip)).then_some(inode)
        })
        .collect()
}

/// `0100007F:1390`: the address in words of 32 bits of this machine's order, the port as a number.
fn read_address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.as_flattened().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_found_by_its_own_ports_in_both_protocols_and_families() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("[::1]:0").unwrap();
        for (protocol, address) in
            [(Protocol::Udp, udp.local_addr().unwrap()), (Protocol::Tcp, tcp.local_addr().unwrap())]
        {
            let owner = owner_of(protocol, address).unwrap();
            assert_eq!(owner.process, std::process::id());
            assert!(!owner.name.is_empty());
            let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            assert_eq!(owner_of(protocol, everywhere), Some(owner));
        }
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(owner_of(Protocol::Udp, free), None);
    }

    #[test]
    fn a_table_is_read_and_what_is_no_line_of_it_is_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  1: 0100007F:13D8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
            \x20  2: 0100007F:13D8 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
            garbage\n x y\n";
        let address = "127.0.0.1:5080".parse().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(inodes(table, Protocol::Tcp, address), [4711]);
            assert_eq!(inodes(table, Protocol::Udp, address), [4711, 4712]);
            assert_eq!(inodes(table, Protocol::Tcp, "127.0.0.2:5080".parse().unwrap()), [0_u64; 0]);
        }
    }
}
