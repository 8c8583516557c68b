package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

const (
	sessionCookie = "klinghook_session"
	// securePrefix makes browsers accept the cookie only over TLS and from this host.
	securePrefix  = "__Host-"
	sessionLength = 12 * time.Hour
	sessionUser   = "user"
	sessionViewer = "viewer"
)

func newSessions(cfg Config) *scs.SessionManager {
	// Keys depend on the credentials, so changing them ends all sessions.
	credentials := sha256.Sum256([]byte(cfg.User + "\x00" + cfg.PasswordHash + "\x00" + cfg.ViewerUser + "\x00" + cfg.ViewerPasswordHash + "\x00" + strings.Join(cfg.Tokens, "\x00") + "\x00\x00" + strings.Join(cfg.ViewerTokens, "\x00")))
	prefix := "klinghook:session:" + hex.EncodeToString(credentials[:4]) + ":"
	// Not scs.New, which starts a goroutine for a store in memory.
	return &scs.SessionManager{Lifetime: sessionLength, Store: redisStore{rdb: cfg.Redis, prefix: prefix}, Codec: scs.GobCodec{}, HashTokenInStore: true}
}

// redisStore keeps sessions in Redis. It implements [scs.CtxStore].
type redisStore struct {
	scs.Store // nil; scs prefers the methods below
	rdb       redis.UniversalClient
	prefix    string
}

// FindCtx implements [scs.CtxStore].
func (s redisStore) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	data, err = s.rdb.Get(ctx, s.prefix+token).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return data, err == nil, err
}

// CommitCtx implements [scs.CtxStore].
func (s redisStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.rdb.Set(ctx, s.prefix+token, data, time.Until(expiry)).Err()
}

// DeleteCtx implements [scs.CtxStore].
func (s redisStore) DeleteCtx(ctx context.Context, token string) error {
	return s.rdb.Del(ctx, s.prefix+token).Err()
}

// startSession starts a session and sets its cookie.
func (g *Gate) startSession(w http.ResponseWriter, r *http.Request, user User) error {
	ctx, err := g.sessions.Load(r.Context(), "")
	if err != nil {
		return err
	}
	g.sessions.Put(ctx, sessionUser, user.Name)
	g.sessions.Put(ctx, sessionViewer, user.Viewer)
	token, _, err := g.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	http.SetCookie(w, newCookie(r, token, sessionLength))
	return nil
}

// sessionUser returns the user of a request's session. The name is empty if there is none.
func (g *Gate) sessionUser(r *http.Request) (User, error) {
	token := sessionToken(r)
	if token == "" {
		return User{}, nil
	}
	ctx, err := g.sessions.Load(r.Context(), token)
	if err != nil {
		return User{}, err
	}
	return User{g.sessions.GetString(ctx, sessionUser), g.sessions.GetBool(ctx, sessionViewer)}, nil
}

// endSession ends a request's session and deletes its cookie.
func (g *Gate) endSession(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, newCookie(r, "", -time.Second))
	ctx, err := g.sessions.Load(r.Context(), sessionToken(r))
	if err != nil {
		return err
	}
	return g.sessions.Destroy(ctx)
}

func newCookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	cookie := &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: int(age / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if isTLS(r) {
		cookie.Name, cookie.Secure = securePrefix+sessionCookie, true
	}
	return cookie
}

func sessionToken(r *http.Request) string {
	if cookie, err := r.Cookie(securePrefix + sessionCookie); err == nil {
		return cookie.Value
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil && !isTLS(r) {
		return cookie.Value
	}
	return ""
}

// isTLS reports whether the browser uses TLS, here or to a proxy. A browser sends
// Origin with each form. A client that lies only affects its own cookie.
func isTLS(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://") || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
