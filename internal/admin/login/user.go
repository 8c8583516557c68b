package login

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/internal/admin"
	"github.com/klinghook/klinghook/internal/source"
)

// User is the sender of a request.
type User struct {
	Name string
	// Viewer reports that the user can see everything and change nothing.
	Viewer bool
}

// Local is the user of pages without a login.
func Local() User { return User{Name: "local"} }

type userKey struct{}

// UserOf returns the user from the context of a request that passed a Gate, else Local().
func UserOf(ctx context.Context) User {
	if user, ok := ctx.Value(userKey{}).(User); ok {
		return user
	}
	return Local()
}

// user returns the user who sent a request. The name is empty if nobody is logged in.
func (g *Gate) user(r *http.Request) (User, error) {
	user, err := g.identify(r)
	user.Viewer = user.Viewer || g.cfg.ReadOnly
	return user, err
}

func (g *Gate) identify(r *http.Request) (User, error) {
	if len(g.Methods()) == 0 {
		return Local(), nil
	}
	if token, found := admin.BearerToken(r); found {
		user := g.tokenUser(token)
		if user.Name == "" {
			g.countRefused(r, "bearer token")
		}
		return user, nil
	}
	if name := g.proxied(r); name != "" {
		return User{name, len(g.cfg.Operators) > 0 && !slices.Contains(g.cfg.Operators, name)}, nil
	}
	return g.sessionUser(r)
}

// tokenUser returns the user of a token. A token in both lists is a viewer's.
func (g *Gate) tokenUser(token string) User {
	switch {
	case source.IsToken(token, g.cfg.ViewerTokens):
		return User{"viewer token", true}
	case source.IsToken(token, g.cfg.Tokens):
		return User{Name: "token"}
	}
	return User{}
}

// account is a user who logs in with a password.
type account struct {
	User
	hash string
}

// accountsOf returns the configured accounts.
func accountsOf(cfg Config) (list []account) {
	if cfg.User != "" {
		list = append(list, account{User{Name: cfg.User}, cfg.PasswordHash})
	}
	if cfg.ViewerUser != "" {
		list = append(list, account{User{cfg.ViewerUser, true}, cfg.ViewerPasswordHash})
	}
	return list
}

// account returns the account with a name; its zero value if there is none.
func (g *Gate) account(name string) account {
	at := slices.IndexFunc(g.accounts, func(a account) bool { return a.Name == name })
	if at < 0 {
		return account{}
	}
	return g.accounts[at]
}

// proxied returns the user named by a trusted proxy, or "". A repeated header is
// ignored, because the client may have sent one of the values.
func (g *Gate) proxied(r *http.Request) string {
	values := r.Header.Values(g.cfg.ProxyHeader)
	peer := admin.ClientAddr(r, nil)
	if len(values) != 1 || !slices.ContainsFunc(g.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return ""
	}
	return strings.TrimSpace(values[0])
}
