package media

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func lookupNothing(context.Context, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func TestWhatAnAddressIs(t *testing.T) {
	t.Parallel()
	tests := []struct{ addr, want string }{
		{"1.1.1.1", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.0.1.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2001:200::1", ""},
		{"2606:4700::1111", ""},
		{"2a00:1450:4001::8a", ""},
		{"3ffe:ffff::1", ""},
		{"64:ff9b::101:101", ""},
		{"2606:4700::5efe:101:101", ""},

		{"168.63.129.15", ""},
		{"168.63.129.16", "Azure's platform"},
		{"127.0.0.1", "loopback"},
		{"::7f00:1", "not global unicast"}, // IPv4-compatible 127.0.0.1
		{"::808:808", "not global unicast"},
		{"::ffff:127.0.0.1", "an IPv4 address in IPv6"},
		{"::ffff:8.8.8.8", "an IPv4 address in IPv6"},
		{"::ffff:0:8.8.8.8", "not global unicast"},
		{"64:ff9b::7f00:1", "NAT64 of 127.0.0.1, which is loopback"},
		{"64:ff9b::a9fe:a9fe", "NAT64 of 169.254.169.254, which is link-local"},
		{"2606:4700::5efe:7f00:1", "ISATAP of 127.0.0.1, which is loopback"},
		{"2606:4700::200:5efe:a00:1", "ISATAP of 10.0.0.1, which is private"},
		{"64:ff9b:0:0:0:1::", "not global unicast"},
		{"64:ff9b:1::808:808", "local-use NAT64"},
		{"4000::1", "not global unicast"},
		{"2606:4700::1111%eth0", "bound to an interface"},
	}
	g := newGuard(nil, lookupNothing, time.Second)
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			t.Parallel()
			addr := netip.MustParseAddr(tt.addr)
			if got := g.special(addr); got != tt.want {
				t.Errorf("special(%s) = %q, want %q", addr, got, tt.want)
			}
			if err := g.judge(addr); errors.Is(err, ErrForbiddenAddress) != (tt.want != "") {
				t.Errorf("judge(%s) = %v", addr, err)
			}
		})
	}
}

func TestWhichLinksAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, link string
		refused    bool
	}{
		{"public name", "https://cdn.klingai.com/a.mp4?sig=1", false},
		{"upper case", "HTTPS://CDN.KLINGAI.COM/a.mp4", false},
		{"another port", "https://cdn.klingai.com:8443/a.mp4", false},
		{"trailing dot", "https://cdn.klingai.com./a.mp4", false},
		{"international name", "https://bücher.example/a.mp4", false},
		{"name with digits", "https://cdn1.7days.example", false},
		{"punycode top level", "https://a.xn--p1ai/", false},
		{"public address", "https://8.8.8.8/a.mp4", false},
		{"public IPv6 address", "https://[2606:4700::1111]/a.mp4", false},
		{"allowed, plain http", "http://cdn.internal:8080/a.mp4", false},
		{"allowed, https", "https://cdn.internal:8080/a.mp4", false},
		{"allowed, other case", "http://CDN.internal:8080/a.mp4", false},
		{"allowed by default port", "http://plain.internal/a.mp4", false},
		{"allowed private address", "https://10.1.2.3/a.mp4", false},
		{"allowed IPv6", "http://[::1]:9000/a.mp4", false},

		{"plain http", "http://cdn.klingai.com/a.mp4", true},
		{"plain http, port of https", "http://cdn.klingai.com:443/a.mp4", true},
		{"file", "file:///etc/passwd", true},
		{"ftp of an allowed host", "ftp://cdn.internal:8080/a.mp4", true},
		{"gopher", "gopher://cdn.klingai.com/", true},
		{"no scheme", "//cdn.klingai.com/a.mp4", true},
		{"opaque", "https:cdn.klingai.com", true},
		{"no host", "https:///a.mp4", true},
		{"port only", "https://:443/a.mp4", true},
		{"empty", "", true},
		{"not a URL", "https://%zz/", true},
		{"user information", "https://user:pass@cdn.klingai.com/", true},
		{"user information, allowed host", "http://user@cdn.internal:8080/", true},
		{"port 0", "https://cdn.klingai.com:0/", true},
		{"port too high", "https://cdn.klingai.com:65536/", true},
		{"allowed host, other port", "http://cdn.internal:8081/a.mp4", true},
		{"allowed host, default port", "http://cdn.internal/a.mp4", true},
		{"allowed address, other port", "https://10.1.2.3:8443/a.mp4", true},
		{"private address", "https://10.1.2.4/", true},
		{"loopback", "https://127.0.0.1/", true},
		{"loopback, trailing dot", "https://127.0.0.1./", true},
		{"IPv6 loopback", "https://[::1]/", true},
		{"IPv6 zone", "https://[fe80::1%25eth0]/", true},
		{"IPv6 public with zone", "https://[2606:4700::1111%25eth0]/", true},
		{"IPv4 in IPv6", "https://[::ffff:127.0.0.1]/", true},
		{"decimal", "https://2130706433/", true},
		{"octal", "https://0177.0.0.1/", true},
		{"octal, public", "https://010.8.8.8/", true},
		{"hexadecimal", "https://0x7f.1/", true},
		{"hexadecimal whole", "https://0x7f000001/", true},
		{"hexadecimal, upper case", "https://0X7F000001/", true},
		{"hexadecimal last part", "https://127.0.0.0x1/", true},
		{"bare 0x", "https://127.0x/", true},
		{"short form", "https://127.1/", true},
		{"zero", "https://0/", true},
		{"too many parts", "https://127.0.0.0.1/", true},
		{"number, trailing dot", "https://2130706433./", true},
		{"unbracketed IPv6", "https://::1/", true},
		{"host longer than a name", "https://" + strings.Repeat("pass.", 51) + "/", true},
		{"longest name", "https://" + strings.Repeat("a.", 127) + "/", false},
	}
	allow := []string{"cdn.internal:8080", "plain.internal:80", "10.1.2.3:443", "[::1]:9000"}
	g := newGuard(allow, lookupNothing, time.Second)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := g.parse(tt.link)
			if errors.Is(err, ErrForbiddenAddress) != tt.refused {
				t.Fatalf("parse(%q) = %v, want refused: %t", tt.link, err, tt.refused)
			}
			if err != nil && strings.Contains(err.Error(), "pass") {
				t.Errorf("error shows a password: %v", err)
			}
		})
	}
}

func TestConnectionsInsideAreRefused(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	tests := []struct {
		name, host string
		allow      []string
		addrs      []netip.Addr
		refused    bool
	}{
		{name: "literal", host: "127.0.0.1", refused: true},
		{name: "literal, trailing dot", host: "127.0.0.1.", refused: true},
		{name: "decimal", host: "2130706433", addrs: loopback, refused: true},
		{name: "name that leads inward", host: "cdn.example", addrs: loopback, refused: true},
		{name: "name, all addresses inward", host: "cdn.example", addrs: append(loopback, netip.MustParseAddr("10.0.0.1")), refused: true},
		{name: "name that leads to a mapped address", host: "cdn.example", addrs: []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, refused: true},
		{name: "name allowed on another port", host: "cdn.example", allow: []string{"cdn.example:1"}, addrs: loopback, refused: true},
		{name: "its address allowed, not the name", host: "cdn.example", allow: []string{"127.0.0.1:" + port}, addrs: loopback, refused: true},
		{name: "allowed name", host: "CDN.example", allow: []string{"cdn.example:" + port}, addrs: loopback},
		{name: "allowed name, first address dead", host: "cdn.example", allow: []string{"cdn.example:" + port}, addrs: append([]netip.Addr{netip.MustParseAddr("127.0.0.254")}, loopback...)},
		{name: "allowed literal", host: "127.0.0.1", allow: []string{"127.0.0.1:" + port}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGuard(tt.allow, func(context.Context, string) ([]netip.Addr, error) { return tt.addrs, nil }, 5*time.Second)
			conn, err := g.dial(t.Context(), "tcp", net.JoinHostPort(tt.host, port))
			if err == nil {
				_ = conn.Close()
			}
			if tt.refused && !errors.Is(err, ErrForbiddenAddress) || !tt.refused && err != nil {
				t.Errorf("dial(%s) = %v, want refused: %t", tt.host, err, tt.refused)
			}
		})
	}
}

func TestUnresolvedNameIsNoRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		lookup LookupFunc
		want   string
	}{
		{"no such name", lookupNothing, "no such host"},
		{"no address", func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, "has no address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGuard(nil, tt.lookup, time.Second)
			_, err := g.dial(t.Context(), "tcp", "cdn.example:443")
			if err == nil || errors.Is(err, ErrForbiddenAddress) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("dial = %v, want %q and no refusal", err, tt.want)
			}
		})
	}
}

func FuzzGuardURL(f *testing.F) {
	for _, link := range []string{
		"https://cdn.klingai.com/a.mp4?sig=1", "http://cdn.klingai.com", "https://127.0.0.1", "https://[::1]:443/",
		"https://[::ffff:10.0.0.1]/", "https://[fe80::1%25eth0]/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/",
		"https://user:pass@host/", "https://１２７.0.0.1/", "https://127。0。0。1/", "https://①②⑦.⓪.⓪.①/", "https:///", "//host", "https:host",
		"https://host:0/", "https://host:/", "https://8.8.8.8./", "https://a..", "https://.", "https://%31/", "https://%25", "https://[64:ff9b::7f00:1]/",
	} {
		f.Add(link)
	}
	g := newGuard(nil, lookupNothing, time.Second)
	// What inet_aton reads as a part of an address.
	number := regexp.MustCompile(`(?i)(^|\.)(\d+|0x[0-9a-f]*)$`)
	f.Fuzz(func(t *testing.T, link string) {
		u, err := g.parse(link)
		if err != nil {
			if !errors.Is(err, ErrForbiddenAddress) {
				t.Errorf("parse(%q): an error of another kind: %v", link, err)
			}
			return
		}
		if u.Scheme != "https" || u.User != nil || u.Hostname() == "" {
			t.Errorf("accepted %q", link)
		}
		host := strings.TrimSuffix(u.Hostname(), ".")
		ip := net.ParseIP(host)
		if ip == nil && number.MatchString(host) {
			t.Errorf("accepted a number as host: %q", link)
		}
		if ip != nil && (!ip.IsGlobalUnicast() || ip.IsPrivate()) {
			t.Errorf("accepted an inner address: %q", link)
		}
		if ip == nil && strings.ContainsAny(host, ":%") {
			t.Errorf("accepted a host that is neither name nor address: %q", link)
		}
	})
}
