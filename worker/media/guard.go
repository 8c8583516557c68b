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
	"syscall"
	"time"
)

// ErrForbiddenAddress reports that a download may not go to a link because of its
// scheme, form or address. It is permanent.
var ErrForbiddenAddress = errors.New("forbidden address")

// LookupFunc resolves a host name to its addresses.
type LookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// dialTimeout bounds the connection to one address, so that time is left for the next.
const dialTimeout = 10 * time.Second

// maxHost is the longest host name in bytes (RFC 1035), with the dot at its end.
const maxHost = 254

// guard decides where downloads may go. It checks twice: the URL, for early and clear
// errors, and the address of each connection, which alone is certain.
type guard struct {
	allow   map[string]bool // by host:port, lower-case
	lookup  LookupFunc
	ranges  []addressRange
	unicast netip.Prefix
	nat64   netip.Prefix
	timeout time.Duration // of resolving and connecting, all addresses together
}

func newGuard(allow []string, lookup LookupFunc, timeout time.Duration) *guard {
	g := &guard{
		allow:   make(map[string]bool, len(allow)),
		lookup:  lookup,
		ranges:  specialRanges(),
		unicast: netip.MustParsePrefix("2000::/3"),
		nat64:   netip.MustParsePrefix("64:ff9b::/96"),
		timeout: timeout,
	}
	for _, hostport := range allow {
		g.allow[strings.ToLower(hostport)] = true
	}
	return g
}

// parse parses and checks a link. Its errors contain only the link's host.
func (g *guard) parse(link string) (*url.URL, error) {
	u, err := url.Parse(link)
	if err != nil {
		// The parser's error quotes the link, which may contain a password.
		return nil, fmt.Errorf("%w: the link is not a URL", ErrForbiddenAddress)
	}
	return u, g.check(u)
}

// check checks a URL before any name is resolved.
func (g *guard) check(u *url.URL) error {
	if u.User != nil {
		return fmt.Errorf("%w: the link carries user information", ErrForbiddenAddress)
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

// hostPort returns a URL's host:port, the port by default that of the scheme.
func hostPort(u *url.URL) (string, error) {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if host == "" {
		return "", fmt.Errorf("%w: the link names no host", ErrForbiddenAddress)
	}
	// A longer one would be in every error.
	if len(host) > maxHost {
		return "", fmt.Errorf("%w: the link's host has %d bytes, more than %d", ErrForbiddenAddress, len(host), maxHost)
	}
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%w: %q has the invalid port %q", ErrForbiddenAddress, host, port)
	}
	return net.JoinHostPort(host, port), nil
}

// literal returns the address of a host written as one, or the zero Addr for a name. It
// rejects what only some resolvers read as an address, such as 2130706433, 0177.0.0.1 or
// 0x7f.1.
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
func (g *guard) dial(ctx context.Context, _, hostport string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	if !g.allow[strings.ToLower(hostport)] {
		dialer.ControlContext = g.control
	}
	// A name may have good and forbidden addresses. If none of the good ones answers,
	// that is the error, as it may pass.
	err = nil
	for _, addr := range addrs {
		// Resolvers may return an IPv4 address in its IPv6 form.
		conn, dialErr := dialer.DialContext(ctx, "tcp", net.JoinHostPort(addr.Unmap().String(), port))
		if dialErr == nil {
			return conn, nil
		}
		if err == nil || errors.Is(err, ErrForbiddenAddress) {
			err = dialErr
		}
	}
	return nil, fmt.Errorf("%q: %w", host, err)
}

// resolve returns the addresses of a host, at least one.
func (g *guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addr, err := literal(host)
	if err != nil {
		return nil, err
	}
	if addr.IsValid() {
		return []netip.Addr{addr}, nil
	}
	addrs, err := g.lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%q has no address", host)
	}
	return addrs, err
}

// control is called with the address of a socket just before it connects.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is not an IP address", ErrForbiddenAddress, address)
	}
	return g.judge(ap.Addr())
}

// judge returns an error unless addr is an ordinary address on the internet.
func (g *guard) judge(addr netip.Addr) error {
	if what := g.special(addr); what != "" {
		return fmt.Errorf("%w: %s is %s", ErrForbiddenAddress, addr, what)
	}
	return nil
}

// special returns what an address is; empty if it is public.
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
