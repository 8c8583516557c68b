// Package config defines klinghook's settings.
//
// A setting is one field of [Config], described by its tags. [Load] reads the settings of
// one [Role] from flags, else from the environment, else from the default. A secret may
// also be in a file named by <NAME>_FILE. An empty variable counts as unset. All problems
// are reported at once, without showing secrets.
package config

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Role is the purpose of a process. It decides which settings are read.
type Role string

// The roles.
const (
	Ingest  Role = "ingest"  // receives webhooks
	Worker  Role = "worker"  // runs queued tasks
	Dev     Role = "dev"     // ingest and worker in one process
	Admin   Role = "admin"   // serves the pages and the API
	Migrate Role = "migrate" // creates and copies databases
	Store   Role = "store"   // a command that reads the database
	Replay  Role = "replay"  // a command that enqueues stored work again
	Prune   Role = "prune"   // a command that deletes old work
	Client  Role = "client"  // a command that talks to ingest or to Kling
	All     Role = "all"     // every setting, to show them; none is required
)

// Config is the settings of one role. Fields that the role does not use are zero.
//
// The form tag names an entry of forms, the secret tag a [Secret], and the needs tag
// a setting that must be set too.
type Config struct {
	WebhookSecrets         []string `group:"Webhooks" env:"KLINGAI_WEBHOOK_SECRET" form:"secrets" secret:"strong" roles:"ingest dev admin replay client" help:"Secrets of webhooks registered with Kling's API, which arrive at /webhooks/klingai. A delivery may be signed with any of them, so that secrets can be rotated."`
	OfficialWebhookSecrets []string `env:"KLINGAI_OFFICIAL_WEBHOOK_SECRET" form:"signing-secrets" secret:"strong" roles:"ingest dev admin replay client" help:"Webhook Secrets from Kling's console, for callbacks at /webhooks/klingai/official."`
	CallbackTokens         []string `env:"KLINGHOOK_CALLBACK_TOKEN" form:"tokens" secret:"key" roles:"ingest dev" help:"Tokens in the path /webhooks/klingai/t/<token>, for callbacks of Kling accounts without a Webhook Secret. Such a callback is only a hint: a worker asks Kling about the job, which needs credentials."`

	APIKey    string `group:"Kling's API" env:"KLINGAI_API_KEY" form:"secret" secret:"key" roles:"worker admin dev replay client" help:"Kling's API key, for registering webhooks and looking up jobs."`
	AccessKey string `env:"KLINGAI_ACCESS_KEY" form:"secret" secret:"key" needs:"KLINGAI_SECRET_KEY" roles:"worker admin dev replay client" help:"The access key of Kling's older credentials, which replace the API key for jobs of the legacy API."`
	SecretKey string `env:"KLINGAI_SECRET_KEY" form:"secret" secret:"key" needs:"KLINGAI_ACCESS_KEY" roles:"worker admin dev replay client" help:"The secret key that belongs to KLINGAI_ACCESS_KEY."`
	APIURL    string `env:"KLINGAI_API_URL" envDefault:"https://api.klingai.com" form:"base-url" roles:"worker admin dev replay client" help:"The address of Kling's API. Outside China https://api-singapore.klingai.com is nearer."`

	Addr      string `group:"Addresses" env:"KLINGHOOK_ADDR" envDefault:":5000" form:"listen-address" roles:"ingest dev client" help:"The address that receives webhooks."`
	AdminAddr string `env:"KLINGHOOK_ADMIN_ADDR" envDefault:"127.0.0.1:5001" form:"listen-address" roles:"ingest worker dev admin" help:"The address of metrics and health and, in admin and dev, of pages and API. Keep it private: only admin can have a login."`
	Profiles  bool   `env:"KLINGHOOK_PROFILES" envDefault:"false" form:"switch" roles:"ingest worker dev admin" help:"Serve Go's profiles at /debug/pprof/ on the private address, to clients on this machine. Others may reach them through a reverse proxy on this machine. admin with a login always serves them to its users."`

	AdminUser         string   `group:"Login to pages and API" env:"KLINGHOOK_ADMIN_USER" form:"name" needs:"KLINGHOOK_ADMIN_PASSWORD_HASH" roles:"admin" help:"The user who can log in to the pages. This user may change everything."`
	AdminPasswordHash string   `env:"KLINGHOOK_ADMIN_PASSWORD_HASH" form:"password-hash" secret:"key" needs:"KLINGHOOK_ADMIN_USER" roles:"admin" help:"The bcrypt hash of that user's password, as \"klinghook admin hash-password\" prints it."`
	AdminViewer       string   `env:"KLINGHOOK_ADMIN_VIEWER_USER" form:"name" needs:"KLINGHOOK_ADMIN_VIEWER_PASSWORD_HASH" roles:"admin" help:"A second user, who may see everything and change nothing."`
	AdminViewerHash   string   `env:"KLINGHOOK_ADMIN_VIEWER_PASSWORD_HASH" form:"password-hash" secret:"key" needs:"KLINGHOOK_ADMIN_VIEWER_USER" roles:"admin" help:"The bcrypt hash of the second user's password."`
	AdminTokens       []string `env:"KLINGHOOK_ADMIN_TOKEN" form:"tokens" secret:"key" roles:"admin" help:"Bearer tokens of operators, who may change everything. Programs send one in a header, people enter one on the login page."`
	AdminViewerTokens []string `env:"KLINGHOOK_ADMIN_VIEWER_TOKEN" form:"tokens" secret:"key" roles:"admin" help:"Bearer tokens of viewers, who may see everything and change nothing."`
	AdminProxyHeader  string   `env:"KLINGHOOK_ADMIN_PROXY_HEADER" form:"header-name" needs:"KLINGHOOK_ADMIN_PROXIES" roles:"admin" help:"The header in which an authenticating reverse proxy names the user. The proxy must remove it from what clients send. It is accepted only from KLINGHOOK_ADMIN_PROXIES."`
	AdminProxies      []string `env:"KLINGHOOK_ADMIN_PROXIES" form:"networks" roles:"admin" help:"The addresses of the reverse proxies in front of admin. Only they may send KLINGHOOK_ADMIN_PROXY_HEADER and X-Forwarded-For. Login attempts through them are counted per client address in X-Forwarded-For."`
	AdminOperators    []string `env:"KLINGHOOK_ADMIN_OPERATORS" form:"user-names" needs:"KLINGHOOK_ADMIN_PROXY_HEADER" roles:"admin" help:"The users in KLINGHOOK_ADMIN_PROXY_HEADER who may change things. All others are viewers. If unset, all are operators."`
	AdminPrefix       string   `env:"KLINGHOOK_ADMIN_PREFIX" form:"path-prefix" roles:"admin" help:"The path below which pages, API and login are served, such as /klinghook, for a reverse proxy that forwards only that path and does not remove it. Health and metrics are not below it."`
	AdminHosts        []string `env:"KLINGHOOK_ADMIN_HOSTS" form:"host-names" roles:"admin" help:"Host names at which pages and API may be opened, besides localhost, loopback addresses and the host of KLINGHOOK_ADMIN_ADDR."`
	ReadOnly          bool     `env:"KLINGHOOK_READ_ONLY" envDefault:"false" form:"switch" roles:"admin" help:"Make all users viewers: nothing can be changed through pages and API."`

	RedisURL        string `group:"Redis" env:"KLINGHOOK_REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" form:"redis-url" secret:"url" roles:"ingest worker dev admin replay" help:"The Redis server of the queue. rediss:// uses TLS. The query may contain go-redis options, such as pool_size. If unset, dev keeps its queue in memory."`
	RedisMode       string `env:"KLINGHOOK_REDIS_MODE" envDefault:"single" form:"redis-mode" roles:"ingest worker dev admin replay" help:"The kind of Redis at KLINGHOOK_REDIS_URL: single, sentinel or cluster. Further Sentinels or nodes are in its query as addr=host:port. With sentinel, its login is for the Sentinels, and the query has master_name=… and Redis's own login as username=… and password=…."`
	RedisCA         string `env:"KLINGHOOK_REDIS_TLS_CA" form:"path" roles:"ingest worker dev admin replay" help:"A PEM file of the authorities that sign Redis's certificate. If unset, the system's are used."`
	RedisCert       string `env:"KLINGHOOK_REDIS_TLS_CERT" form:"path" needs:"KLINGHOOK_REDIS_TLS_KEY" roles:"ingest worker dev admin replay" help:"A PEM file of the client certificate for Redis. It is read again for each connection."`
	RedisKey        string `env:"KLINGHOOK_REDIS_TLS_KEY" form:"path" needs:"KLINGHOOK_REDIS_TLS_CERT" roles:"ingest worker dev admin replay" help:"A PEM file of the key of KLINGHOOK_REDIS_TLS_CERT."`
	RedisServerName string `env:"KLINGHOOK_REDIS_TLS_SERVER_NAME" form:"name" roles:"ingest worker dev admin replay" help:"The name in Redis's certificate, if it is not the host of the URL."`

	DatabaseURL string `group:"Storage" env:"KLINGHOOK_DATABASE_URL" envDefault:"sqlite:<data>/klinghook.db" form:"database-url" secret:"url" roles:"worker dev admin migrate store replay prune" help:"The database of events, jobs and media: a SQLite file or a PostgreSQL server."`
	CopyFrom    string `env:"KLINGHOOK_COPY_FROM" form:"database-url" secret:"url" roles:"migrate" help:"Another database, from which migrate copies everything into an empty KLINGHOOK_DATABASE_URL. Unset it afterwards."`
	BucketURL   string `env:"KLINGHOOK_BUCKET_URL" envDefault:"file://<data>/media" form:"bucket-url" roles:"worker dev admin store replay prune" help:"Where videos and other files are stored. Credentials of a cloud come from its own variables."`
	Data        string `env:"KLINGHOOK_DATA" envDefault:"./klinghook-data" form:"path" roles:"ingest worker dev admin migrate store replay prune client" help:"The directory for local data: the database, the media and the spool, unless they have settings of their own, and the secrets that dev makes."`

	SpoolDir     string        `group:"Spool" env:"KLINGHOOK_SPOOL_DIR" envDefault:"<data>/spool" form:"path" roles:"ingest dev" help:"The directory that keeps events while Redis is unavailable, so that they still get 200. Processes on one machine may share it. It must be on a disk that outlives the process."`
	SpoolMaxSize int64         `env:"KLINGHOOK_SPOOL_MAX_SIZE" envDefault:"1GiB" form:"size" roles:"ingest dev" help:"The largest size of the spool. When it is full, events get 503."`
	NoSpool      bool          `env:"KLINGHOOK_NO_SPOOL" envDefault:"false" form:"switch" roles:"ingest dev" help:"Use no spool, for machines without a disk. While Redis is unavailable, events get 503."`
	QueueTimeout time.Duration `env:"KLINGHOOK_QUEUE_TIMEOUT" envDefault:"250ms" form:"queue-timeout" roles:"ingest dev" help:"How long a delivery waits for Redis before it goes to the spool or, without one, gets 503."`

	MaxBody      int64    `group:"Limits and downloads" env:"KLINGHOOK_MAX_BODY" envDefault:"1MiB" form:"size" roles:"ingest dev" help:"The largest delivery that is accepted."`
	MediaAllow   []string `env:"KLINGHOOK_MEDIA_ALLOW" form:"hosts" roles:"worker dev" help:"Hosts that downloads may use even if they are private or use plain HTTP, such as a CDN in your network."`
	MediaDeny    []string `env:"KLINGHOOK_MEDIA_DENY" form:"host-or-network" roles:"worker dev" help:"Hosts, with their subdomains, and networks that downloads may never use, such as your own public addresses. Only hosts of KLINGHOOK_MEDIA_ALLOW may be in such a network."`
	MediaOnly    []string `env:"KLINGHOOK_MEDIA_ONLY" form:"host-names" roles:"worker dev" help:"The only hosts, with their subdomains, that downloads may use besides those of KLINGHOOK_MEDIA_ALLOW. If unset, all public ones."`
	MediaFakeIP  bool     `env:"KLINGHOOK_MEDIA_FAKE_IP" envDefault:"false" form:"switch" roles:"worker dev" help:"Let downloads use names that resolve to 198.18.0.0/15, for networks whose proxy (Clash, Surge, sing-box) answers all names with such addresses. The proxy then decides where a name leads, even into your network."`
	MediaMaxSize int64    `env:"KLINGHOOK_MEDIA_MAX_SIZE" envDefault:"2GiB" form:"size" roles:"worker dev" help:"The largest video that is downloaded. The limit for an image is 256 MiB, for audio 1 GiB."`
	MediaKinds   []string `env:"KLINGHOOK_MEDIA_KINDS" envDefault:"video,image,audio,voice,element,thumbnail" form:"media-kinds" roles:"worker dev" help:"The kinds of files that are stored. watermark means the copies of videos and images with Kling's watermark."`

	LookupAfter        time.Duration `group:"Look-ups" env:"KLINGHOOK_LOOKUP_AFTER" envDefault:"15m" form:"duration" roles:"worker dev admin" help:"How long an unfinished job may be silent before a worker asks Kling about it. The wait doubles after each look-up without news, up to a day."`
	LookupGiveUp       time.Duration `env:"KLINGHOOK_LOOKUP_GIVE_UP" envDefault:"168h" form:"duration" roles:"worker dev" help:"How long a job may be silent before it counts as lost."`
	LookupRate         float64       `env:"KLINGHOOK_LOOKUP_RATE" envDefault:"5" form:"rate" roles:"worker dev replay client" help:"The maximum number of requests per second to Kling's API. Look-ups of all workers share the limit; for fresh links, each worker has its own."`
	LinkLifetime       time.Duration `env:"KLINGHOOK_LINK_LIFETIME" envDefault:"720h" form:"duration" roles:"worker dev store" help:"How long links to media work: Kling's for 30 days, some relays' for an hour. In the last tenth of that time, \"jobs list --expiring\" shows files that are not stored yet."`
	StoredLinkLifetime time.Duration `env:"KLINGHOOK_STORED_LINK_LIFETIME" envDefault:"24h" form:"link-lifetime" roles:"worker dev admin store" help:"How long the signed links to stored files work, in forwards and \"jobs show --json\". 0s leaves them out. A folder has none. A link expires earlier if the credentials that signed it do."`

	RetainEvents Retention `group:"Retention" env:"KLINGHOOK_RETAIN_EVENTS" envDefault:"90d" form:"retention" roles:"worker dev prune" help:"How long raw events are kept after they were received. Events of a job that is unfinished or has pending work are kept longer. The time also applies to closed dead letters and to samples of refused deliveries."`
	RetainJobs   Retention `env:"KLINGHOOK_RETAIN_JOBS" envDefault:"keep" form:"retention" roles:"worker dev prune" help:"How long jobs are kept after their last update, with their events and notifications. A job that is unfinished or has pending work is kept longer, and one with a stored file as long as the file: set KLINGHOOK_RETAIN_MEDIA too."`
	RetainMedia  Retention `env:"KLINGHOOK_RETAIN_MEDIA" envDefault:"keep" form:"retention" roles:"worker dev prune" help:"How long files are kept after they were stored; keep also keeps their jobs. Jobs show their deleted files as deleted."`

	SampleURL string `group:"Trying things out" env:"KLINGHOOK_SAMPLE_URL" form:"base-url" roles:"client" help:"The address of video.mp4 and thumbnail.jpg for the jobs that send creates. A running dev serves them. Add it to KLINGHOOK_MEDIA_ALLOW."`

	NotifyURLs    URLs     `group:"Notifications" env:"KLINGHOOK_NOTIFY_URLS" form:"service-urls" secret:"text" roles:"worker dev" help:"Chat and e-mail services to notify, as shoutrrr URLs."`
	NotifyEvents  []string `env:"KLINGHOOK_NOTIFY_EVENTS" envDefault:"video.completed,video.failed,video.cancelled,video.lost" form:"events" roles:"worker dev" help:"The events that people and programs are notified of."`
	NotifyRate    float64  `env:"KLINGHOOK_NOTIFY_RATE" envDefault:"100" form:"rate" roles:"worker dev" help:"The maximum number of messages per second from one worker to one destination. Slack allows 1, Discord 2. Waiting for a turn does not count as an attempt."`
	ForwardURLs   URLs     `env:"KLINGHOOK_FORWARD_URLS" form:"http-urls" secret:"url" needs:"KLINGHOOK_FORWARD_SECRET" roles:"worker dev" help:"Programs to notify. Each gets klinghook's own JSON, signed according to Standard Webhooks."`
	ForwardSecret string   `env:"KLINGHOOK_FORWARD_SECRET" form:"signing-secret" secret:"strong" roles:"worker dev" help:"The secret that signs what goes to KLINGHOOK_FORWARD_URLS."`
	AlertURLs     URLs     `env:"KLINGHOOK_ALERT_URLS" form:"service-urls" secret:"text" roles:"worker dev admin" help:"Chat and e-mail services to alert when klinghook needs a person: dead letters, expiring links, a paused destination, a filling spool, refused deliveries, no worker. Set it for the workers and for admin: a worker cannot report that none runs."`
	NotifyText    string   `env:"KLINGHOOK_NOTIFY_TEXT" form:"template" roles:"worker dev" help:"The text of messages to chat and e-mail, as a template. If unset, they have a line for each known fact."`
	Destinations  string   `env:"KLINGHOOK_DESTINATIONS" form:"path" roles:"worker dev" help:"A YAML file of further destinations, each with its own name, secret, events and rate."`

	Queues       map[string]int `group:"Concurrency and shutdown" env:"KLINGHOOK_QUEUES" envKeyValSeparator:"=" envDefault:"events=64,media=4,notify=8,rejections=1" form:"queues" roles:"worker dev" help:"How many tasks of each queue one process runs at once. Queues that are left out are not run."`
	EventShards  int            `env:"KLINGHOOK_EVENT_SHARDS" envDefault:"1" form:"count" roles:"ingest worker dev admin replay" help:"The number of queues that events are spread over, for a Redis cluster, where each queue is on one node. Set the same number for all processes."`
	Grace        time.Duration  `env:"KLINGHOOK_GRACE" envDefault:"30s" form:"duration" roles:"ingest worker dev admin" help:"How long running work may take to finish when the process is stopped."`
	LogLevel     string         `group:"Logs and traces" env:"KLINGHOOK_LOG_LEVEL" envDefault:"info" form:"log-level" roles:"ingest worker dev admin" help:"The lowest level that is logged."`
	LogFormat    string         `env:"KLINGHOOK_LOG_FORMAT" envDefault:"auto" form:"log-format" roles:"ingest worker dev admin" help:"The format of logs. auto means console on a terminal and json elsewhere."`
	OTLPEndpoint string         `env:"OTEL_EXPORTER_OTLP_ENDPOINT" form:"base-url" roles:"ingest worker dev" help:"The OpenTelemetry collector that receives traces by OTLP over HTTP, usually at port 4318. If unset, nothing is traced. OTEL_TRACES_SAMPLER and the SDK's other variables are respected."`
	OTLPHeaders  string         `env:"OTEL_EXPORTER_OTLP_HEADERS" form:"otlp-headers" secret:"text" roles:"ingest worker dev" help:"Headers for the collector, such as a key."`

	texts    map[string]string // settings that are set, by name
	origins  map[string]Origin // of all settings of the role
	warnings []string
}

// URLs is a list of URLs. A URL in it may contain commas.
type URLs []string

// Retention is how long something is kept; 0 means forever.
type Retention time.Duration

// Origin is where a setting's value comes from.
type Origin string

// The origins. A setting that the role does not use has none.
const (
	FromDefault     Origin = "default"
	FromEnvironment Origin = "environment"
	FromFile        Origin = "file"
	FromFlag        Origin = "flag"
)

// Origin returns where the value of the setting comes from.
func (c *Config) Origin(name string) Origin { return c.origins[name] }

// Warnings describes weak secrets that the role accepts.
func (c *Config) Warnings() []string { return c.warnings }

// Value returns the value of the setting for display, with secrets removed. It is
// empty if there is no value or no such setting.
func (c *Config) Value(name string) string {
	setting := Lookup(name)
	if c.origins[name] == "" {
		return ""
	}
	text := cmp.Or(c.texts[name], setting.Default)
	if setting.Kind == reflect.String {
		text = setting.value(c).String() // derived, if it is a default
	}
	items := setting.items(text)
	for i, item := range items {
		if setting.Secret == SecretURL && item != "" {
			items[i] = redactURL(item)
		}
	}
	switch {
	case text == "" || setting.HasFlag():
		return strings.Join(items, ",")
	case len(items) > 1:
		return fmt.Sprintf("(%d secrets)", len(items))
	}
	return "(secret)"
}

// Secrets returns the values of a setting that is a list of secrets.
func (c *Config) Secrets(name string) []string { return split(c.texts[name], comma) }
