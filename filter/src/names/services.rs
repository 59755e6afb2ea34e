//! Names of well-known ports, from the IANA registry of service names and as `/etc/services` usually has them.

use Transport::{Both, Tcp, Udp};

/// Which transport protocols a name is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Both,
}

/// The port called `name`. Case counts.
pub(crate) fn port(name: &str) -> Option<(u16, Transport)> {
    let at = SERVICES.binary_search_by(|(known, ..)| known.as_bytes().cmp(name.as_bytes())).ok()?;
    SERVICES.get(at).map(|(_, port, transport)| (*port, *transport))
}

/// In the order of their bytes.
#[rustfmt::skip]
const SERVICES: [(&str, u16, Transport); 225] = [
    ("acr-nema", 104, Tcp), ("afpovertcp", 548, Tcp), ("afs3-callback", 7001, Udp), ("afs3-fileserver", 7000, Udp),
    ("afs3-kaserver", 7004, Udp), ("afs3-prserver", 7002, Udp), ("afs3-vlserver", 7003, Udp),
    ("afs3-volser", 7005, Udp), ("amanda", 10080, Tcp), ("amqp", 5672, Tcp), ("amqps", 5671, Tcp), ("auth", 113, Tcp),
    ("authentication", 113, Tcp), ("babel", 6696, Udp), ("bacula-dir", 9101, Tcp), ("bacula-fd", 9102, Tcp),
    ("bacula-sd", 9103, Tcp), ("bgp", 179, Tcp), ("bgpd", 2605, Tcp), ("biff", 512, Udp), ("bootpc", 68, Udp),
    ("bootps", 67, Udp), ("cfengine", 5308, Tcp), ("chargen", 19, Both), ("cmd", 514, Tcp), ("comsat", 512, Udp),
    ("daap", 3689, Tcp), ("daytime", 13, Both), ("dhcpv6-client", 546, Udp), ("dhcpv6-server", 547, Udp),
    ("dicom", 104, Tcp), ("dict", 2628, Tcp), ("discard", 9, Both), ("distcc", 3632, Tcp), ("domain", 53, Both),
    ("domain-s", 853, Both), ("echo", 7, Both), ("epmap", 135, Tcp), ("epmd", 4369, Tcp), ("exec", 512, Tcp),
    ("finger", 79, Tcp), ("font-service", 7100, Tcp), ("freeciv", 5556, Tcp), ("ftp", 21, Tcp), ("ftp-data", 20, Tcp),
    ("ftps", 990, Tcp), ("ftps-data", 989, Tcp), ("gds-db", 3050, Tcp), ("gds_db", 3050, Tcp), ("git", 9418, Tcp),
    ("gnutella-rtr", 6347, Both), ("gnutella-svc", 6346, Both), ("gopher", 70, Tcp), ("http", 80, Tcp),
    ("http-alt", 8080, Tcp), ("https", 443, Both), ("iax", 4569, Udp), ("icp", 3130, Udp), ("icpv2", 3130, Udp),
    ("ident", 113, Tcp), ("imap", 143, Tcp), ("imap2", 143, Tcp), ("imaps", 993, Tcp), ("ipp", 631, Tcp),
    ("ipsec-nat-t", 4500, Udp), ("ipx", 213, Udp), ("ircd", 6667, Tcp), ("ircs-u", 6697, Tcp), ("isakmp", 500, Udp),
    ("iscsi-target", 3260, Tcp), ("isns", 3205, Both), ("iso-tsap", 102, Tcp), ("jabber-client", 5222, Tcp),
    ("jabber-server", 5269, Tcp), ("kerberos", 88, Both), ("kerberos-adm", 749, Tcp), ("kerberos-sec", 88, Both),
    ("kerberos5", 88, Both), ("kerberos_master", 751, Udp), ("klogin", 543, Tcp), ("kpasswd", 464, Both),
    ("krb5", 88, Both), ("krcmd", 544, Tcp), ("kshell", 544, Tcp), ("l2f", 1701, Udp), ("l2tp", 1701, Udp),
    ("ldap", 389, Both), ("ldaps", 636, Both), ("ldp", 646, Both), ("loc-srv", 135, Tcp), ("login", 513, Tcp),
    ("lotusnote", 1352, Tcp), ("lotusnotes", 1352, Tcp), ("lrrd", 4949, Tcp), ("mail", 25, Tcp), ("mdns", 5353, Udp),
    ("microsoft-ds", 445, Tcp), ("moira-db", 775, Tcp), ("moira-update", 777, Tcp), ("moira-ureg", 779, Udp),
    ("moira_db", 775, Tcp), ("moira_update", 777, Tcp), ("moira_ureg", 779, Udp), ("ms-sql-m", 1434, Udp),
    ("ms-sql-s", 1433, Tcp), ("ms-wbt-server", 3389, Tcp), ("munin", 4949, Tcp), ("mysql", 3306, Tcp),
    ("nbd", 10809, Tcp), ("netbios-dgm", 138, Udp), ("netbios-ns", 137, Udp), ("netbios-ssn", 139, Tcp),
    ("netstat", 15, Tcp), ("nfs", 2049, Both), ("nicname", 43, Tcp), ("nntp", 119, Tcp), ("nntps", 563, Tcp),
    ("nrpe", 5666, Tcp), ("nsca", 5667, Tcp), ("ntalk", 518, Udp), ("ntp", 123, Udp), ("ntske", 4460, Tcp),
    ("null", 9, Both), ("nut", 3493, Both), ("openvpn", 1194, Both), ("ospf6d", 2606, Tcp), ("ospfd", 2604, Tcp),
    ("passwd-server", 752, Udp), ("passwd_server", 752, Udp), ("pop-3", 110, Tcp), ("pop3", 110, Tcp),
    ("pop3s", 995, Tcp), ("portmapper", 111, Both), ("postgres", 5432, Tcp), ("postgresql", 5432, Tcp),
    ("printer", 515, Tcp), ("ptp-event", 319, Udp), ("ptp-general", 320, Udp), ("puppet", 8140, Tcp),
    ("qotd", 17, Tcp), ("quote", 17, Tcp), ("radacct", 1813, Both), ("radius", 1812, Both),
    ("radius-acct", 1813, Both), ("radmin-port", 4899, Tcp), ("readnews", 119, Tcp), ("redis", 6379, Tcp),
    ("ripd", 2602, Tcp), ("ripngd", 2603, Tcp), ("rmiregistry", 1099, Tcp), ("route", 520, Udp), ("routed", 520, Udp),
    ("router", 520, Udp), ("rptp", 5556, Tcp), ("rsync", 873, Tcp), ("rtsp", 554, Both), ("sge-execd", 6445, Tcp),
    ("sge-qmaster", 6444, Tcp), ("sge_execd", 6445, Tcp), ("sge_qmaster", 6444, Tcp), ("shell", 514, Tcp),
    ("sieve", 4190, Tcp), ("sink", 9, Both), ("sip", 5060, Both), ("sip-tls", 5061, Both), ("smtp", 25, Tcp),
    ("smtps", 465, Tcp), ("snmp", 161, Both), ("snmp-trap", 162, Both), ("snmptrap", 162, Both), ("snntp", 563, Tcp),
    ("socks", 1080, Tcp), ("source", 19, Both), ("spooler", 515, Tcp), ("ssh", 22, Tcp), ("ssmtp", 465, Tcp),
    ("submission", 587, Tcp), ("submissions", 465, Tcp), ("subversion", 3690, Tcp), ("sunrpc", 111, Both),
    ("svn", 3690, Tcp), ("svrloc", 427, Both), ("syslog", 514, Both), ("syslog-tls", 6514, Tcp), ("systat", 11, Tcp),
    ("tacacs", 49, Both), ("talk", 517, Udp), ("tap", 113, Tcp), ("tcpmux", 1, Tcp), ("telnet", 23, Tcp),
    ("telnets", 992, Tcp), ("tftp", 69, Udp), ("time", 37, Both), ("timserver", 37, Both), ("tinc", 655, Both),
    ("tsap", 102, Tcp), ("ttytst", 19, Both), ("untp", 119, Tcp), ("urd", 465, Tcp), ("users", 11, Tcp),
    ("uucp", 540, Tcp), ("uucpd", 540, Tcp), ("wais", 210, Tcp), ("webcache", 8080, Tcp), ("who", 513, Udp),
    ("whod", 513, Udp), ("whois", 43, Tcp), ("www", 80, Tcp), ("x11", 6000, Tcp), ("x11-0", 6000, Tcp),
    ("x11-1", 6001, Tcp), ("x11-2", 6002, Tcp), ("x11-3", 6003, Tcp), ("x11-4", 6004, Tcp), ("x11-5", 6005, Tcp),
    ("x11-6", 6006, Tcp), ("x11-7", 6007, Tcp), ("xdmcp", 177, Udp), ("xfs", 7100, Tcp), ("xmpp-client", 5222, Tcp),
    ("xmpp-server", 5269, Tcp), ("z3950", 210, Tcp), ("zabbix-agent", 10050, Tcp), ("zabbix-trapper", 10051, Tcp),
    ("zebra", 2601, Tcp),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_every_name_is_found() {
        for (name, number, transport) in SERVICES {
            assert_eq!(port(name), Some((number, transport)), "{name}");
        }
        assert_eq!(port("domain"), Some((53, Both)));
        assert_eq!(port("no-such-service"), None);
    }
}
