package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrForbiddenAddress reports that a download may not go to a link because of its
// scheme, form or address. It is permanent.
var ErrForbiddenAddress = errors.New("forbidden address")

// maxHost is the longest host name in bytes (RFC 1035), with the dot at its end.
const maxHost = 254

// guard decides where downloads may go. It checks the URL, for early and clear errors, and
// the name and address of each connection, which nothing can bypass.
type guard struct {
	allow    map[string]bool // by host:port, lower-case
	deny     map[string]bool // by host, lower-case
	only     map[string]bool // by host, lower-case; empty allows all
	ranges   []addressRange
	unicast  netip.Prefix
	nat64    netip.Prefix
	fakeIP   netip.Prefix
	fakeIPOK bool
	resolver *net.Resolver
	timeout  time.Duration // of resolving and connecting, all addresses together
}

func newGuard(cfg Config) *guard {
	g := &guard{
		allow: map[string]bool{}, deny: map[string]bool{}, only: map[string]bool{},
		ranges:   specialRanges(),
		unicast:  netip.MustParsePrefix("2000::/3"),
		nat64:    netip.MustParsePrefix("64:ff9b::/96"),
		fakeIP:   netip.MustParsePrefix("198.18.0.0/15"),
		fakeIPOK: cfg.FakeIP,
		resolver: cfg.Resolver,
		timeout:  cfg.StallTimeout,
	}
	for _, hostport := range cfg.Allow {
		g.allow[strings.ToLower(hostport)] = true
	}
	for _, host := range cfg.Only {
		g.only[listedAs(host)] = true
	}
	for _, item := range cfg.Deny {
		addr, err := netip.ParseAddr(item)
		prefix := netip.PrefixFrom(addr, addr.BitLen())
		if err != nil {
			prefix, err = netip.ParsePrefix(item)
		}
		if err == nil {
			g.ranges = append(g.ranges, addressRange{prefix.Masked(), "denied by KLINGHOOK_MEDIA_DENY"})
			continue
		}
		g.deny[listedAs(item)] = true
	}
	return g
}

// listedAs returns how a host is written in the guard's lists.
func listedAs(host string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimLeft(host, "*."), "."))
}

// listed reports whether a list has a host or one of its parent domains.
func listed(list map[string]bool, host string) bool {
	for host, more := listedAs(host), true; more; _, host, more = strings.Cut(host, ".") {
		if list[host] {
			return true
		}
	}
	return false
}

// parse parses and checks a link, which may be relative to base unless that is nil.
func (g *guard) parse(base *url.URL, link string) (*url.URL, error) {
	u, err := parseLink(base, link)
	if err != nil {
		return nil, err
	}
	return u, g.check(u)
}

// check checks a URL before any name is resolved.
func (g *guard) check(u *url.URL) error {
	if u.User != nil {
		return fmt.Errorf("%w: the link contains user information", ErrForbiddenAddress)
	}
	hostport, err := hostPort(u)
	if err != nil {
		return err
	}
	switch {
	case g.allow[hostport] && (u.Scheme == "https" || u.Scheme == "http"):
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("%w: %s has scheme %q, only https is allowed", ErrForbiddenAddress, hostport, u.Scheme)
	}
	addr, err := literal(u.Hostname())
	if err != nil || !addr.IsValid() {
		return err
	}
	return g.judge(addr)
}

// hostPort returns a URL's host:port, by default with the port of the scheme.
func hostPort(u *url.URL) (string, error) {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Scheme == "":
		return "", fmt.Errorf("%w: it has no scheme", ErrMalformedLink)
	case host == "":
		return "", fmt.Errorf("%w: it names no host", ErrMalformedLink)
	case len(host) > maxHost:
		return "", fmt.Errorf("%w: its host has %d bytes, more than %d", ErrMalformedLink, len(host), maxHost)
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%w: %q has the invalid port %.20q", ErrMalformedLink, host, port)
	}
	return net.JoinHostPort(host, port), nil
}

// literal returns the address of a host written as one, or the zero Addr for a name. It
// rejects forms that only some resolvers read as an address, such as 2130706433,
// 0177.0.0.1 or 0x7f.1.
func literal(host string) (netip.Addr, error) {
	bare := strings.TrimSuffix(host, ".")
	if addr, err := netip.ParseAddr(bare); err == nil {
		return addr, nil
	}
	if strings.ContainsAny(bare, ":%") || endsInNumber(bare) {
		return netip.Addr{}, fmt.Errorf("%w: %q is neither a name nor a plainly written address", ErrForbiddenAddress, host)
	}
	return netip.Addr{}, nil
}

// endsInNumber reports whether the last label of a host is a decimal, octal or
// hexadecimal number. No top-level domain is.
func endsInNumber(host string) bool {
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	digits, hex := strings.CutPrefix(last, "0x")
	if hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// dial connects to host:port. http.Transport has mapped international names to ASCII.
// net.Dialer resolves the name and tries its IPv6 and IPv4 addresses as in RFC 8305.
func (g *guard) dial(ctx context.Context, _, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	addr, err := literal(host)
	if err != nil {
		return nil, err
	}
	if addr.IsValid() {
		host = addr.String() // without a dot at its end
	}
	allowed := g.allow[strings.ToLower(hostport)]
	switch {
	case listed(g.deny, host):
		return nil, fmt.Errorf("%w: %q is denied by KLINGHOOK_MEDIA_DENY", ErrForbiddenAddress, host)
	case !allowed && len(g.only) > 0 && !listed(g.only, host):
		return nil, fmt.Errorf("%w: %q is not in KLINGHOOK_MEDIA_ONLY", ErrForbiddenAddress, host)
	}
	var public atomic.Bool
	dialer := net.Dialer{Timeout: g.timeout, Resolver: g.resolver}
	if !allowed {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			err := g.judgeSocket(address, !addr.IsValid())
			if err == nil {
				public.Store(true)
			}
			return err
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if public.Load() && errors.Is(err, ErrForbiddenAddress) {
		// Not ErrForbiddenAddress: its public addresses may answer the next time.
		err = fmt.Errorf("%q: no public address answered, and another is refused: %s", host, err.Error())
	}
	return conn, err
}

// judgeSocket judges the address of a socket just before it connects. named reports that
// a name resolved to it.
func (g *guard) judgeSocket(address string, named bool) error {
	ap, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %q is not an IP address", ErrForbiddenAddress, address)
	case !named || !g.fakeIP.Contains(ap.Addr()):
		return g.judge(ap.Addr())
	case !g.fakeIPOK:
		return fmt.Errorf("%w: the resolver answered with %s, a fake address of a proxy such as Clash; set KLINGHOOK_MEDIA_FAKE_IP=true if your network has one", ErrForbiddenAddress, ap.Addr())
	}
	return nil
}

// judge returns an error unless addr is public.
func (g *guard) judge(addr netip.Addr) error {
	if what := g.special(addr); what != "" {
		return fmt.Errorf("%w: %s is %s", ErrForbiddenAddress, addr, what)
	}
	return nil
}

// special describes an address that is not public; empty if it is public.
func (g *guard) special(addr netip.Addr) string {
	if addr.Zone() != "" {
		// No prefix contains an address with a zone.
		return "bound to an interface"
	}
	for _, r := range g.ranges {
		if r.prefix.Contains(addr) {
			return r.what
		}
	}
	switch {
	case addr.Is4():
		return ""
	case addr.Is4In6():
		return "an IPv4 address in IPv6"
	case g.nat64.Contains(addr):
		bytes := addr.As16()
		v4 := netip.AddrFrom4([4]byte(bytes[12:]))
		if what := g.special(v4); what != "" {
			return "NAT64 of " + v4.String() + ", which is " + what
		}
		return ""
	case !g.unicast.Contains(addr):
		return "not global unicast"
	}
	if v4, ok := isatap(addr); ok {
		if what := g.special(v4); what != "" {
			return "ISATAP of " + v4.String() + ", which is " + what
		}
	}
	return ""
}

// isatap returns the IPv4 address that a machine with an ISATAP interface would tunnel
// to, if addr has such an interface identifier (RFC 5214).
func isatap(addr netip.Addr) (v4 netip.Addr, ok bool) {
	bytes := addr.As16()
	switch binary.BigEndian.Uint32(bytes[8:12]) {
	case 0x00005efe, 0x02005efe:
		return netip.AddrFrom4([4]byte(bytes[12:])), true
	}
	return netip.Addr{}, false
}
