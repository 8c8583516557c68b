package media

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

// registered are the blocks of IANA's IPv4 and IPv6 Special-Purpose Address Registries,
// the multicast blocks, and deprecated IPv6 blocks, independently of ranges.go.
var registered = []string{
	"0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32",
	"192.0.0.170/31", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
	"192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32", "224.0.0.0/4", "::1/128", "::/128",
	"::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
	"2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
	"2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48",
	"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::/96",
	"::ffff:0:0:0/96",
}

// lastOf returns the last address of a block.
func lastOf(block netip.Prefix) netip.Addr {
	bytes := block.Addr().AsSlice()
	for bit := block.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// spellings returns the ways to write an address, or an IPv4 address within IPv6, as
// the host of a URL.
func spellings(addr netip.Addr) []string {
	if addr.Is6() {
		return []string{"[" + addr.String() + "]", "[" + addr.StringExpanded() + "]", "[" + strings.ToUpper(addr.String()) + "]", "[" + addr.String() + "%25lo]"}
	}
	p := addr.As4()
	whole := binary.BigEndian.Uint32(p[:])
	hosts := []string{
		addr.String(), addr.String() + ".",
		fmt.Sprint(whole), fmt.Sprintf("%d.", whole), fmt.Sprintf("0x%08x", whole), fmt.Sprintf("0X%X", whole), fmt.Sprintf("0%o", whole),
		fmt.Sprintf("0%o.0%o.0%o.0%o", p[0], p[1], p[2], p[3]), fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", p[0], p[1], p[2], p[3]),
		fmt.Sprintf("%03d.%03d.%03d.%03d", p[0], p[1], p[2], p[3]), fmt.Sprintf("%d.0x%x.0%o.%d", p[0], p[1], p[2], p[3]),
		fmt.Sprintf("%d.%d", p[0], whole&0xffffff), fmt.Sprintf("%d.%d.%d", p[0], p[1], whole&0xffff), fmt.Sprintf("0x%x.%d", p[0], whole&0xffffff),
	}
	for _, wrapped := range wrappings(addr) {
		hosts = append(hosts, "["+wrapped.String()+"]")
	}
	return hosts
}

// wrappings returns the IPv6 forms of an IPv4 address, current and deprecated.
func wrappings(v4 netip.Addr) []netip.Addr {
	p := v4.As4()
	at := func(prefix string, offset int) netip.Addr {
		bytes := netip.MustParseAddr(prefix).As16()
		copy(bytes[offset:], p[:])
		return netip.AddrFrom16(bytes)
	}
	return []netip.Addr{
		at("::ffff:0:0", 12), at("::ffff:0:0:0", 12), at("::", 12), // mapped, translated, compatible
		at("64:ff9b::", 12), at("64:ff9b:1::", 12), at("64:ff9b:1:ffff::", 12), // NAT64, RFC 6052 and RFC 8215
		at("2002::", 2), at("2001::", 4), // 6to4, a Teredo server
		at("2606:4700::5efe:0:0", 12), at("2606:4700::200:5efe:0:0", 12), at("fe80::5efe:0:0", 12), // ISATAP
	}
}

func TestNoSpecialAddressIsReachedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, block := range registered {
		t.Run(block, func(t *testing.T) {
			t.Parallel()
			prefix := netip.MustParsePrefix(block)
			for _, addr := range []netip.Addr{prefix.Addr(), prefix.Addr().Next(), lastOf(prefix)} {
				if !prefix.Contains(addr) {
					continue // the block is one address
				}
				refuseEverywhere(t, addr)
			}
		})
	}
}

func refuseEverywhere(t *testing.T, addr netip.Addr) {
	t.Helper()
	resolved := []netip.Addr{addr}
	if addr.Is4() {
		resolved = append(resolved, wrappings(addr)...)
	}
	g := newGuard(Config{})
	for _, a := range resolved {
		if err := g.judgeSocket(netip.AddrPortFrom(a, 443).String(), true); !errors.Is(err, ErrForbiddenAddress) {
			t.Errorf("a name of %s: %v, want a refusal", a, err)
		}
	}
	for _, host := range spellings(addr) {
		for _, port := range []string{"", ":443", ":8443"} {
			if _, err := g.parse(nil, "https://"+host+port+"/a.mp4"); !errors.Is(err, ErrForbiddenAddress) {
				t.Errorf("https://%s%s (%s): %v, want a refusal", host, port, addr, err)
			}
		}
	}
}

// serveAt serves over TLS at a loopback address and port ("0" for any), counts the
// connections, and returns the port.
func serveAt(t *testing.T, host, port string, reached *atomic.Int32, handler http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Skipf("no listener on %s: %v", host, err)
	}
	srv := httptest.NewUnstartedServer(handler)
	_ = srv.Listener.Close()
	srv.Listener = ln
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			reached.Add(1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

func TestNameOfAPrivateAddressIsNotReached(t *testing.T) {
	t.Parallel()
	video := testVideo(64<<10, 1)
	outward, inward := []string{"127.0.0.2"}, []string{"127.0.0.1"}
	tests := []struct {
		name     string
		addrs    [][]string // by look-up
		outside  http.HandlerFunc
		followed bool
	}{
		{"at its other addresses", [][]string{{"127.0.0.1", "::ffff:127.0.0.1", "::1", "127.0.0.2"}}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(video) }, true},
		{"after a redirect to itself", [][]string{outward, inward}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/again")
			w.WriteHeader(http.StatusFound)
		}, false},
		{"on resume", [][]string{outward, inward}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"1"`)
			_, _ = (&cut{w, len(video) / 2}).Write(video)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var lookups, outside, inside atomic.Int32
			port := serveAt(t, "127.0.0.2", "0", &outside, tt.outside)
			serveAt(t, "127.0.0.1", port, &inside, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(video) })
			f := NewFetcher(Config{Resolver: resolverFunc(func(_ string, v6 bool) []string {
				if v6 {
					return byFamily(tt.addrs[0], v6)
				}
				return byFamily(tt.addrs[lookups.Add(1)-1], v6)
			})})
			// 127.0.0.2 counts as public, 127.0.0.1 as private.
			f.guard.ranges = []addressRange{{netip.MustParsePrefix("127.0.0.0/31"), "inside"}, {netip.MustParsePrefix("::/8"), "inside"}}
			f.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its certificate has another name
			_, _, err := fetch(t, f, "https://cdn.example:"+port+"/a.mp4", tasks.MediaVideo)
			if (err == nil) != tt.followed || err != nil && (!errors.Is(err, ErrForbiddenAddress) || !tasks.IsPermanent(err)) {
				t.Errorf("Download = %v, want a permanent refusal: %t", err, !tt.followed)
			}
			if l, o, i := lookups.Load(), outside.Load(), inside.Load(); int(l) != len(tt.addrs) || o != 1 || i != 0 {
				t.Errorf("%d look-ups, %d connections outside and %d inside; want %d, 1 and 0", l, o, i, len(tt.addrs))
			}
		})
	}
}

func TestProxiesFromTheEnvironmentAreNotUsed(t *testing.T) {
	t.Parallel()
	if NewFetcher(Config{}).transport.Proxy != nil {
		t.Error("a proxy is set: it would resolve names where no guard checks them")
	}
}

// FuzzGuardAddress compares the guard with the registries and the standard library.
func FuzzGuardAddress(f *testing.F) {
	for _, block := range registered {
		f.Add(netip.MustParsePrefix(block).Addr().AsSlice())
	}
	for _, wrapped := range wrappings(netip.MustParseAddr("169.254.169.254")) {
		f.Add(wrapped.AsSlice())
	}
	g := newGuard(Config{})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		addr, ok := netip.AddrFromSlice(bytes)
		if !ok || g.judge(addr) != nil {
			return
		}
		for _, block := range registered {
			if netip.MustParsePrefix(block).Contains(addr) {
				t.Errorf("accepted %s of %s", addr, block)
			}
		}
		if addr.IsPrivate() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || !addr.IsGlobalUnicast() {
			t.Errorf("accepted %s", addr)
		}
		if addr.Is4() {
			return
		}
		if v4 := netip.AddrFrom4([4]byte(bytes[12:])); netip.MustParsePrefix("64:ff9b::/96").Contains(addr) && g.judge(v4) != nil {
			t.Errorf("accepted %s, which carries %s", addr, v4)
		}
	})
}
