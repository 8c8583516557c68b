package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/zap"

	"github.com/klinghook/klinghook/config"
	"github.com/klinghook/klinghook/internal/process"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// embeddedRedis is a Redis in this process's memory.
type embeddedRedis struct {
	server *miniredis.Miniredis
	url    string
	stop   chan struct{}
	expiry sync.WaitGroup
}

// startEmbeddedRedis starts a Redis on a loopback port, because go-redis needs an address.
// A random password protects the queue from other users of the machine.
func startEmbeddedRedis() (*embeddedRedis, error) {
	password := rand.Text()
	server := miniredis.NewMiniRedis()
	server.RequireAuth(password)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start embedded queue: %w", err)
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: server.Addr()}
	r := &embeddedRedis{server: server, url: u.String(), stop: make(chan struct{})}
	r.expiry.Go(r.expireKeys)
	return r, nil
}

// expireKeys deletes expired keys once a second. With miniredis's ClockTTL each command
// would check all keys, and a queue of a few thousand tasks would take minutes.
func (r *embeddedRedis) expireKeys() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-r.stop:
			return
		case now := <-ticker.C:
			r.server.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (r *embeddedRedis) close() error {
	close(r.stop)
	r.expiry.Wait()
	r.server.Close()
	return nil
}

// storeFirst stores each event before it is queued in memory. After a kill, the sweep
// enqueues the unprocessed events of the store.
type storeFirst struct {
	store *store.Store
	queue *tasks.Client
}

// Enqueue implements [ingest.Enqueuer] for tasks that record events.
func (q storeFirst) Enqueue(ctx context.Context, task tasks.Task) (duplicate bool, err error) {
	event, err := tasks.DecodeEvent(task.Payload)
	if err != nil {
		return false, err
	}
	isNew, err := q.store.KeepEvent(ctx, event)
	if errors.Is(err, tasks.ErrErased) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// It is queued already if the sweep just found it in the store.
	_, err = q.queue.Enqueue(ctx, task)
	return !isNew, err
}

//go:embed sample
var samples embed.FS

// sampleServer serves the sample media on its own loopback port, so that downloads can
// reach nothing else on this machine.
type sampleServer struct {
	listeners *process.Listeners
	addr      string
}

// sampleAddressFile is the file in the data directory with the sample server's address.
// The next dev uses it again, for the links of unfinished downloads.
const sampleAddressFile = "sample-address"

func startSampleServer(ctx context.Context, log *zap.Logger, data string) (*sampleServer, error) {
	log = log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	path := filepath.Join(data, sampleAddressFile)
	if kept, err := os.ReadFile(path); err == nil {
		listeners := process.NewListeners(log)
		if addr, err := listeners.Add(ctx, "sample", strings.TrimSpace(string(kept)), http.FileServerFS(samples)); err == nil {
			return &sampleServer{listeners, addr}, nil
		} // another program has the port
	}
	listeners := process.NewListeners(log)
	addr, err := listeners.Add(ctx, "sample", "127.0.0.1:0", http.FileServerFS(samples))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(addr+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("save sample address: %w", err), listeners.Close())
	}
	return &sampleServer{listeners, addr}, nil
}

func (s *sampleServer) url() string { return "http://" + s.addr + "/sample" }

func (s *sampleServer) close() error { return s.listeners.Close() }

// devSecrets are the secrets that dev verifies with, by setting.
type devSecrets struct {
	cfg *config.Config
	// made are the secrets that dev generated; secretFile returns their paths.
	made map[string]string
}

// secretFile returns the path of the secret that dev made for a setting, such as
// <data>/webhook-secret for KLINGAI_WEBHOOK_SECRET.
func secretFile(data, setting string) string {
	name := strings.ToLower(strings.TrimPrefix(setting, "KLINGAI_"))
	return filepath.Join(data, strings.ReplaceAll(name, "_", "-"))
}

// openSecrets reads or makes the secrets that are not set.
func openSecrets(cfg *config.Config) (devSecrets, error) {
	s := devSecrets{cfg: cfg, made: map[string]string{}}
	for _, protocol := range source.Protocols() {
		if len(cfg.Secrets(protocol.SecretSetting)) > 0 {
			continue
		}
		secret, err := keptSecret(secretFile(cfg.Data, protocol.SecretSetting))
		if err != nil {
			return s, err
		}
		s.made[protocol.SecretSetting] = secret
	}
	return s, nil
}

// keptSecret returns the secret in a file. It generates a missing one in the format of
// Standard Webhooks, which the seed protocol also accepts.
func keptSecret(path string) (string, error) {
	secret, err := readSecretFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return secret, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", dataError(fmt.Errorf("save secret: %w", err))
	}
	return secret, nil
}

func readSecretFile(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("read secret: %w; run as the user who started `klinghook dev`, or set KLINGHOOK_DATA (--data) to another directory", err)
	}
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("read secret: %s is empty; remove it, and dev creates a new one", path)
	}
	return secret, nil
}

// openedSecrets returns the secrets of a setting, else the one that dev generated in the
// data directory, and where they come from. It returns none if there is neither.
func openedSecrets(cfg *config.Config, setting string) (secrets []string, from string, err error) {
	if secrets := cfg.Secrets(setting); len(secrets) > 0 {
		return secrets, setting, nil
	}
	path := secretFile(cfg.Data, setting)
	secret, err := readSecretFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", nil
	}
	return []string{secret}, path, err
}

// list returns the secrets of a setting.
func (s devSecrets) list(setting string) []string {
	if secret, ok := s.made[setting]; ok {
		return []string{secret}
	}
	return s.cfg.Secrets(setting)
}

// describe returns where a secret is. On a terminal, it includes a secret that dev made.
func (s devSecrets) describe(setting string, onTerminal bool) string {
	switch secret, made := s.made[setting]; {
	case made && onTerminal:
		return fmt.Sprintf("%s  (made here, kept in %s)", secret, secretFile(s.cfg.Data, setting))
	case made:
		return "in " + secretFile(s.cfg.Data, setting)
	}
	return "the value of " + setting
}

// devAddresses are the addresses of a running dev, which other commands read from a file in
// the data directory.
type devAddresses struct {
	// Webhooks, Admin and Sample are URLs without a slash at the end.
	Webhooks string `json:"webhooks"`
	Admin    string `json:"admin"`
	Sample   string `json:"sample"`
	// Redis is the URL of the queue, with its password.
	Redis string `json:"redis"`
}

const devAddressesFile = "dev.json"

func (a devAddresses) write(data string) error {
	content, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	// Write and rename, so that readers never see half a file.
	file := filepath.Join(data, devAddressesFile)
	if err := os.WriteFile(file+".new", append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	return nil
}

// readDevAddresses returns the addresses of the dev running on this data directory, if any.
// It checks /healthz, because a killed dev leaves its file behind.
func readDevAddresses(ctx context.Context, data string) (a devAddresses, ok bool) {
	content, err := os.ReadFile(filepath.Join(data, devAddressesFile))
	if err != nil || json.Unmarshal(content, &a) != nil {
		return devAddresses{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Webhooks+"/healthz", http.NoBody)
	if err != nil {
		return devAddresses{}, false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return devAddresses{}, false
	}
	_ = res.Body.Close()
	return a, res.StatusCode == http.StatusOK
}

func removeDevAddresses(data string) {
	_ = os.Remove(filepath.Join(data, devAddressesFile)) // readDevAddresses detects a stale file
}

// reachable returns the address at which this machine reaches a listener: localhost:5000
// for "[::]:5000".
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// commandName returns the name of this program for suggested commands.
func commandName() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ./cmd/klinghook"
	}
	return os.Args[0]
}
