package media

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// resolving returns a resolver with these addresses for cdn.example.
func resolving(t *testing.T, addrs ...string) *net.Resolver {
	return resolverFunc(func(host string, v6 bool) []string {
		if host != "cdn.example" {
			t.Errorf("looked up %q", host)
		}
		return byFamily(addrs, v6)
	})
}

func byFamily(addrs []string, v6 bool) (found []string) {
	for _, addr := range addrs {
		if strings.Contains(addr, ":") == v6 {
			found = append(found, addr)
		}
	}
	return found
}

// resolverFunc returns a resolver whose DNS server answers with the IPv4 or IPv6
// addresses that a function returns.
func resolverFunc(lookup func(host string, v6 bool) []string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			var length [2]byte
			if _, err := io.ReadFull(server, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(server, query); err == nil {
				_, _ = server.Write(answerDNS(query, lookup))
			}
		}()
		return client, nil
	}}
}

// answerDNS answers a query for addresses, as DNS does over TCP (RFC 1035).
func answerDNS(query []byte, lookup func(host string, v6 bool) []string) []byte {
	var labels []string
	at := 12
	for ; query[at] > 0; at += 1 + int(query[at]) {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
	}
	question := query[12 : at+5]
	kind := binary.BigEndian.Uint16(query[at+1:])
	addrs := lookup(strings.Join(labels, "."), kind == 28)
	answer := slices.Concat(query[:2], []byte{0x81, 0x80, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0}, question)
	for _, addr := range addrs {
		ip := netip.MustParseAddr(addr).AsSlice()
		answer = append(answer, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(ip)))
		answer = append(answer, ip...)
	}
	return append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)
}

func TestAddressesAreClassified(t *testing.T) {
	t.Parallel()
	g := newGuard(Config{})
	for what, addrs := range map[string]string{
		"": "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0 198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 " +
			"2001:200::1 2606:4700::1111 2a00:1450:4001::8a 3ffe:ffff::1 64:ff9b::101:101 2606:4700::5efe:101:101",
		"Azure's platform":                              "168.63.129.16",
		"loopback":                                      "127.0.0.1",
		"not global unicast":                            "::7f00:1 ::808:808 ::ffff:0:8.8.8.8 64:ff9b:0:0:0:1:: 4000::1",
		"an IPv4 address in IPv6":                       "::ffff:127.0.0.1 ::ffff:8.8.8.8",
		"local-use NAT64":                               "64:ff9b:1::808:808",
		"bound to an interface":                         "2606:4700::1111%eth0",
		"NAT64 of 127.0.0.1, which is loopback":         "64:ff9b::7f00:1",
		"NAT64 of 169.254.169.254, which is link-local": "64:ff9b::a9fe:a9fe",
		"ISATAP of 127.0.0.1, which is loopback":        "2606:4700::5efe:7f00:1",
		"ISATAP of 10.0.0.1, which is private":          "2606:4700::200:5efe:a00:1",
	} {
		for _, text := range strings.Fields(addrs) {
			addr := netip.MustParseAddr(text)
			if got := g.special(addr); got != what || errors.Is(g.judge(addr), ErrForbiddenAddress) != (what != "") {
				t.Errorf("%s is %q, want %q; judged %v", addr, got, what, g.judge(addr))
			}
		}
	}
}

func TestForbiddenLinksAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, link string
		want       error
	}{
		{"public name", "https://cdn.klingai.com/a.mp4?sig=1", nil},
		{"upper case", "HTTPS://CDN.KLINGAI.COM/a.mp4", nil},
		{"trailing dot", "https://cdn.klingai.com./a.mp4", nil},
		{"name with digits", "https://cdn1.7days.example", nil},
		{"punycode top level", "https://a.xn--p1ai/", nil},
		{"public address", "https://8.8.8.8/a.mp4", nil},
		{"allowed, plain http", "http://cdn.internal:8080/a.mp4", nil},
		{"allowed, https", "https://cdn.internal:8080/a.mp4", nil},
		{"allowed, other case", "http://CDN.internal:8080/a.mp4", nil},
		{"allowed by default port", "http://plain.internal/a.mp4", nil},
		{"allowed private address", "https://10.1.2.3/a.mp4", nil},
		{"allowed IPv6", "http://[::1]:9000/a.mp4", nil},

		{"white space around", " \u00a0\r\nhttps://cdn.klingai.com/a.mp4\t", nil},
		{"line break within", "https://cdn.klingai\n.com/a.mp4", nil},
		{"space, bare % and beyond ASCII", "https://cdn.klingai.com/a b%/%zz/é.mp4?q=%&r=é", nil},

		{"port of 100 KB", "https://cdn.klingai.com:" + strings.Repeat("9", 100<<10) + "/", ErrMalformedLink},
		{"scheme of 100 KB", strings.Repeat("a", 100<<10) + "://cdn.klingai.com/", ErrForbiddenAddress},
		{"denied network", "https://203.0.114.1/a.mp4", ErrForbiddenAddress},
		{"denied network in NAT64", "https://[64:ff9b::cb00:7201]/a.mp4", ErrForbiddenAddress},
		{"denied IPv6 network", "https://[2606:4700:1::1]/a.mp4", ErrForbiddenAddress},
		{"denied address", "https://8.8.4.4/a.mp4", ErrForbiddenAddress},
		{"backslash before another host", `https://127.0.0.1\@cdn.klingai.com/`, ErrForbiddenAddress},
		{"plain http", "http://cdn.klingai.com/a.mp4", ErrForbiddenAddress},
		{"metadata service", "http://169.254.169.254/latest/meta-data", ErrForbiddenAddress},
		{"user information before an address", "https://cdn.example@127.0.0.1/", ErrForbiddenAddress},
		{"file", "file:///etc/passwd", ErrMalformedLink},
		{"ftp of an allowed host", "ftp://cdn.internal:8080/a.mp4", ErrForbiddenAddress},
		{"no scheme", "//cdn.klingai.com/a.mp4", ErrMalformedLink},
		{"opaque", "https:cdn.klingai.com", ErrMalformedLink},
		{"no host", "https:///a.mp4", ErrMalformedLink},
		{"not a URL", "https://%zz/", ErrMalformedLink},
		{"user information", "https://user:pass@cdn.klingai.com/", ErrForbiddenAddress},
		{"user information, allowed host", "http://user@cdn.internal:8080/", ErrForbiddenAddress},
		{"port 0", "https://cdn.klingai.com:0/", ErrMalformedLink},
		{"port too high", "https://cdn.klingai.com:65536/", ErrMalformedLink},
		{"allowed host, other port", "http://cdn.internal:8081/a.mp4", ErrForbiddenAddress},
		{"allowed host, default port", "http://cdn.internal/a.mp4", ErrForbiddenAddress},
		{"allowed address, other port", "https://10.1.2.3:8443/a.mp4", ErrForbiddenAddress},
		{"IPv6 public with zone", "https://[2606:4700::1111%25eth0]/", ErrForbiddenAddress},
		{"octal, public", "https://010.8.8.8/", ErrForbiddenAddress},
		{"bare 0x", "https://127.0x/", ErrForbiddenAddress},
		{"zero", "https://0/", ErrForbiddenAddress},
		{"too many parts", "https://127.0.0.0.1/", ErrForbiddenAddress},
		{"unbracketed IPv6", "https://::1/", ErrMalformedLink},
		{"host longer than a name", "https://" + strings.Repeat("pass.", 51) + "/", ErrMalformedLink},
		{"longest name", "https://" + strings.Repeat("a.", 127) + "/", nil},
	}
	allow := []string{"cdn.internal:8080", "plain.internal:80", "10.1.2.3:443", "[::1]:9000"}
	f := NewFetcher(Config{Allow: allow, Deny: []string{"203.0.114.0/24", "2606:4700:1::/48", "8.8.4.4"}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := f.guard.parse(nil, tt.link)
			if !errors.Is(err, tt.want) {
				t.Fatalf("parse(%.100q) = %v, want %v", tt.link, err, tt.want)
			}
			if tt.want == nil {
				return
			}
			_, err = f.Download(t.Context(), Request{Link: tt.link, Object: objectName})
			if !tasks.IsPermanent(err) || strings.Contains(err.Error(), "pass") || len(err.Error()) > 1000 {
				t.Errorf("Download = %.2000v, want a short permanent error without a password", err)
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
	const named, refused = "cdn.example", "forbidden address"
	tests := []struct {
		name, host string
		cfg        Config
		addrs      []string
		want       string // in the error
	}{
		{"literal", "127.0.0.1", Config{}, nil, refused},
		{"name that leads inward", named, Config{}, []string{"127.0.0.1"}, refused},
		{"name, all addresses inward", named, Config{}, []string{"127.0.0.1", "10.0.0.1", "::1"}, refused},
		{"name that leads to a mapped address", named, Config{}, []string{"::ffff:127.0.0.1"}, refused},
		{"name allowed on another port", named, Config{Allow: []string{"cdn.example:1"}}, []string{"127.0.0.1"}, refused},
		{"its address allowed, not the name", named, Config{Allow: []string{"127.0.0.1:" + port}}, []string{"127.0.0.1"}, refused},
		{"allowed name", "CDN.example", Config{Allow: []string{"cdn.example:" + port}}, []string{"127.0.0.1"}, ""},
		{"allowed name, first address dead", named, Config{Allow: []string{"cdn.example:" + port}}, []string{"127.0.0.254", "127.0.0.1"}, ""},
		{"allowed name, others only", named, Config{Allow: []string{"cdn.example:" + port}, Only: []string{"klingai.com"}}, []string{"127.0.0.1"}, ""},
		{"allowed literal", "127.0.0.1", Config{Allow: []string{"127.0.0.1:" + port}}, nil, ""},
		{"denied name", named, Config{Deny: []string{"CDN.example."}, Allow: []string{"cdn.example:" + port}}, nil, "KLINGHOOK_MEDIA_DENY"},
		{"name of a denied domain", named, Config{Deny: []string{"*.example"}}, nil, "KLINGHOOK_MEDIA_DENY"},
		{"name not of a denied domain", named, Config{Deny: []string{"n.example"}}, []string{"127.0.0.1"}, "loopback"},
		{"name of a denied network", named, Config{Deny: []string{"203.0.114.0/24"}}, []string{"203.0.114.1"}, "KLINGHOOK_MEDIA_DENY"},
		{"other than the only one", named, Config{Only: []string{"klingai.com"}}, nil, "KLINGHOOK_MEDIA_ONLY"},
		{"the only one", named, Config{Only: []string{"example"}}, []string{"127.0.0.1"}, "loopback"},
		{"literal beside the only one", "8.8.8.8", Config{Only: []string{"klingai.com"}}, nil, "KLINGHOOK_MEDIA_ONLY"},
		{"fake address", named, Config{}, []string{"198.18.0.7"}, "KLINGHOOK_MEDIA_FAKE_IP"},
		{"fake literal", "198.18.0.7", Config{FakeIP: true}, nil, "for benchmarks"},
		{"no such name", named, Config{}, nil, "no such host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Resolver = resolverFunc(func(host string, v6 bool) []string { return byFamily(tt.addrs, v6) })
			conn, err := NewFetcher(tt.cfg).guard.dial(t.Context(), "tcp", net.JoinHostPort(tt.host, port))
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("dial(%s) = %v, want %q", tt.host, err, tt.want)
			}
			if err != nil && errors.Is(err, ErrForbiddenAddress) == (tt.want == "no such host") {
				t.Errorf("%v: want a refusal: %t", err, tt.want != "no such host")
			}
		})
	}
	g := newGuard(Config{FakeIP: true})
	if err := g.judgeSocket("198.19.255.1:443", true); err != nil {
		t.Errorf("a fake address where they are expected: %v", err)
	}
}

// A listener with a full queue answers no more connections, like a dead address.
func TestDeadIPv6AddressIsSkippedQuickly(t *testing.T) {
	t.Parallel()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	loopback := [16]byte{15: 1}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet6{Addr: loopback}), syscall.Listen(fd, 0)); err != nil {
		t.Skip("no IPv6: ", err)
	}
	name, err := syscall.Getsockname(fd)
	bound, ok := name.(*syscall.SockaddrInet6)
	if err != nil || !ok {
		t.Fatal(name, err)
	}
	port := strconv.Itoa(bound.Port)
	var dead bool
	for range 4 { // fills the queue
		conn, err := net.DialTimeout("tcp", "[::1]:"+port, 200*time.Millisecond)
		if dead = err != nil; dead {
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	if !dead {
		t.Skip("this system's queues do not fill")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	conn, err := newGuard(Config{StallTimeout: 30 * time.Second, Allow: []string{"cdn.example:" + port}, Resolver: resolving(t, "::1", "127.0.0.1")}).dial(ctx, "tcp", "cdn.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); got != "127.0.0.1:"+port {
		t.Errorf("connected to %s", got)
	}
	_ = conn.Close()
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
	g := newGuard(Config{})
	// Forms that inet_aton reads as parts of an address.
	number := regexp.MustCompile(`(?i)(^|\.)(\d+|0x[0-9a-f]*)$`)
	f.Fuzz(func(t *testing.T, link string) {
		u, err := g.parse(nil, link)
		if err != nil {
			if !errors.Is(err, ErrForbiddenAddress) && !errors.Is(err, ErrMalformedLink) {
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
