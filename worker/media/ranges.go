package media

import "net/netip"

// addressRange is a block of addresses that are not public.
type addressRange struct {
	prefix netip.Prefix
	what   string // completes "10.0.0.1 is …"
}

// specialRanges returns the special blocks of IPv4, and those of IPv6 that are within
// global unicast or worth naming: IANA's registries of special-purpose addresses, the
// multicast and deprecated blocks, and a cloud's internal address in public space:
// https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry.
func specialRanges() []addressRange {
	const documentation, as112 = "for documentation", "an AS112 sink"
	named := []struct{ prefix, what string }{
		{"0.0.0.0/8", "of this network"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "behind a carrier's NAT"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"},
		{"168.63.129.16/32", "Azure's platform"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "for protocol assignments"},
		{"192.0.2.0/24", documentation},
		{"192.31.196.0/24", as112},
		{"192.52.193.0/24", "a multicast relay"},
		{"192.88.99.0/24", "a 6to4 relay"},
		{"192.168.0.0/16", "private"},
		{"192.175.48.0/24", as112},
		{"198.18.0.0/15", "for benchmarks"},
		{"198.51.100.0/24", documentation},
		{"203.0.113.0/24", documentation},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved or broadcast"},

		{"::/128", "unspecified"},
		{"::1/128", "loopback"},
		{"64:ff9b:1::/48", "local-use NAT64"},
		{"100::/64", "discarded"},
		{"2001::/23", "Teredo or another protocol assignment"},
		{"2001:db8::/32", documentation},
		{"2002::/16", "6to4"},
		{"2620:4f:8000::/48", as112},
		{"3fff::/20", documentation},
		{"5f00::/16", "segment routing"},
		{"fc00::/7", "unique local"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "site-local"},
		{"ff00::/8", "multicast"},
	}
	ranges := make([]addressRange, 0, len(named))
	for _, n := range named {
		ranges = append(ranges, addressRange{netip.MustParsePrefix(n.prefix), n.what})
	}
	return ranges
}
