//! Who holds a port: the hint for an operator whose address is in use.

use std::fs;
use std::path::Path;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Names the process that listens on TCP `port` in this network namespace, as far as we may see it.
pub(super) fn of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let target = format!("socket:[{inode}]");
    let process = fs::read_dir("/proc").ok()?.filter_map(Result::ok).find(|process| {
        // `self` and `thread-self` are names, too, but say nothing.
        let is_process = process.file_name().to_string_lossy().parse::<u32>().is_ok();
        is_process
            && fs::read_dir(process.path().join("fd")).is_ok_and(|mut descriptors| {
                descriptors.any(|descriptor| {
                    descriptor.is_ok_and(|descriptor| {
                        fs::read_link(descriptor.path()).is_ok_and(|link| link == Path::new(&target))
                    })
                })
            })
    })?;
    let name = fs::read_to_string(process.path().join("comm")).ok()?;
    Some(format!("held by {}, process {}", name.trim(), process.file_name().display()))
}

/// The inode of the socket that listens on `port`, from the text of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        if listens { fields.get(9)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_process_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of_port(listener.local_addr().unwrap().port()).unwrap();
        assert!(holder.ends_with(&format!("process {}", std::process::id())), "{holder}");
        assert!(holder.starts_with("held by "), "{holder}");
    }

    #[test]
    fn reads_the_table_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0\n\
            1: 0100007F:0050 0100007F:192B 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0\n";
        assert_eq!(listening_inode(table, 6443), Some(4242));
        assert_eq!(listening_inode(table, 80), None);
        assert_eq!(listening_inode("", 6443), None);
    }
}
