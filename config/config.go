package config

import (
	"fmt"
	"strings"
	"time"
)

// Role is what a process is for; it decides which settings are read.
type Role string

// The roles.
const (
	// Ingest is the public process that receives webhooks.
	Ingest Role = "ingest"
	// Worker is the process that acts on queued events.
	Worker Role = "worker"
	// Dev is ingest and worker in one process.
	Dev Role = "dev"
	// Admin is the process with the queue pages.
	Admin Role = "admin"
	// Store is a command that needs the database only, such as migrate or jobs.
	Store Role = "store"
	// Replay is a command that puts work back into the queue: it needs the
	// database, Redis, and the secrets to verify events again.
	Replay Role = "replay"
	// Client is a command that talks to ingest or to Kling: send, webhooks.
	Client Role = "client"
	// All reads every setting and requires none, to show them.
	All Role = "all"
)

// Config is the settings of one role. A field that the role does not use is
// zero. The help tag of a field is its documentation; the form tag names its
// unit and syntax in the forms table.
type Config struct {
	WebhookSecrets         []string `env:"KLINGAI_WEBHOOK_SECRET" form:"secrets" secret:"whole" roles:"ingest dev replay client" help:"Secrets of webhooks registered with Kling's API, received at /webhooks/klingai. Any of them verifies a delivery, so that secrets can be rotated."`
	OfficialWebhookSecrets []string `env:"KLINGAI_OFFICIAL_WEBHOOK_SECRET" form:"signing-secrets" secret:"whole" roles:"ingest dev replay client" help:"Webhook Secrets made in Kling's console, for callbacks received at /webhooks/klingai/official."`
	CallbackTokens         []string `env:"KLINGHOOK_CALLBACK_TOKEN" form:"tokens" secret:"whole" roles:"ingest dev" help:"Tokens at the end of /webhooks/klingai/t/<token>, where callbacks of Kling accounts without a Webhook Secret are received. Nothing in them is believed: a worker asks Kling, for which it needs credentials."`

	APIKey    string `env:"KLINGAI_API_KEY" form:"secret" secret:"whole" roles:"worker dev replay client" help:"Kling's API key, with which webhooks are registered and jobs are looked up."`
	AccessKey string `env:"KLINGAI_ACCESS_KEY" form:"secret" secret:"whole" roles:"worker dev replay client" help:"Kling's older credentials, in the place of an API key, for jobs of the legacy API."`
	SecretKey string `env:"KLINGAI_SECRET_KEY" form:"secret" secret:"whole" roles:"worker dev replay client" help:"The secret key that belongs to KLINGAI_ACCESS_KEY."`
	APIURL    string `env:"KLINGAI_API_URL" envDefault:"https://api.klingai.com" form:"http-url" secret:"none" roles:"worker dev replay client" help:"Where Kling's API is; outside China https://api-singapore.klingai.com is nearer."`

	Addr      string `env:"KLINGHOOK_ADDR" envDefault:":5000" form:"listen-address" secret:"none" roles:"ingest dev client" help:"Where webhooks are received."`
	AdminAddr string `env:"KLINGHOOK_ADMIN_ADDR" envDefault:"127.0.0.1:5001" form:"listen-address" secret:"none" roles:"ingest worker dev admin" help:"Where metrics and health are served and, by admin and dev, the queue pages. Only the pages of admin can have a login: keep it private."`

	AdminUser         string   `env:"KLINGHOOK_ADMIN_USER" form:"user" secret:"none" roles:"admin" help:"Who logs in to the queue pages, with the password that KLINGHOOK_ADMIN_PASSWORD_HASH is of."`
	AdminPasswordHash string   `env:"KLINGHOOK_ADMIN_PASSWORD_HASH" form:"password-hash" secret:"whole" roles:"admin" help:"The bcrypt hash of a password, as \"klinghook admin hash-password\" makes it."`
	AdminTokens       []string `env:"KLINGHOOK_ADMIN_TOKEN" form:"tokens" secret:"whole" roles:"admin" help:"Bearer tokens for the queue pages: for programs in a header, for people in the login page."`
	AdminProxyHeader  string   `env:"KLINGHOOK_ADMIN_PROXY_HEADER" form:"header-name" secret:"none" roles:"admin" help:"A header in which a reverse proxy names the user that it has logged in. The proxy must take it off what clients send. It is believed from KLINGHOOK_ADMIN_PROXIES only."`
	AdminProxies      []string `env:"KLINGHOOK_ADMIN_PROXIES" form:"networks" secret:"none" roles:"admin" help:"The addresses of the proxies that KLINGHOOK_ADMIN_PROXY_HEADER is believed from."`
	AdminHosts        []string `env:"KLINGHOOK_ADMIN_HOSTS" form:"host-names" secret:"none" roles:"admin" help:"The names by which browsers may ask for the queue pages, besides localhost, loopback addresses and the address of KLINGHOOK_ADMIN_ADDR."`
	ReadOnly          bool     `env:"KLINGHOOK_READ_ONLY" envDefault:"false" form:"switch" secret:"none" roles:"admin" help:"Let nobody change anything by the queue pages."`

	// RedisURL is empty in Dev unless it is set: the queue is embedded then.
	RedisURL string `env:"KLINGHOOK_REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" form:"redis-url" secret:"url" roles:"ingest worker dev admin replay" help:"The Redis that holds the queue: a server, redis-sentinel://…/<master>/0 with the Sentinels that know it, or redis-cluster://…. With rediss it is spoken to by TLS, for which ca_file, cert_file and key_file may be in the query. When it is not set, dev embeds a queue in memory."`
	// DatabaseURL lies in Data unless it is set.
	DatabaseURL string `env:"KLINGHOOK_DATABASE_URL" derived:"sqlite:<data>/klinghook.db" form:"database-url" secret:"url" roles:"worker dev store replay" help:"The database of events, jobs and media: a file of SQLite's, or a PostgreSQL server."`
	// BucketURL lies in Data unless it is set.
	BucketURL string `env:"KLINGHOOK_BUCKET_URL" derived:"file://<data>/media" form:"bucket-url" secret:"none" roles:"worker dev" help:"Where videos and thumbnails are kept. Credentials of a cloud come from its own variables."`
	Data      string `env:"KLINGHOOK_DATA" envDefault:"./klinghook-data" form:"directory" secret:"none" roles:"ingest worker dev store replay client" help:"The directory of what is kept on this machine: the database and the media, unless they have addresses of their own, and the secrets that dev makes."`

	// SpoolDir lies in Data unless it is set. It means nothing with NoSpool.
	SpoolDir     string `env:"KLINGHOOK_SPOOL_DIR" derived:"<data>/spool" form:"directory" secret:"none" roles:"ingest dev" help:"Where ingest keeps events, one synced file each, while Redis is away. Processes on one machine may share it. It must be on a disk that outlives the process."`
	SpoolMaxSize int64  `env:"KLINGHOOK_SPOOL_MAX_SIZE" envDefault:"1GiB" form:"size" secret:"none" roles:"ingest dev" help:"How much the spool may hold; beyond it events are answered with 503."`
	NoSpool      bool   `env:"KLINGHOOK_NO_SPOOL" envDefault:"false" form:"switch" secret:"none" roles:"ingest dev" help:"Keep no spool, for machines without a disk: while Redis cannot be reached, events are answered with 503."`
	// QueueTimeout is 1 ms to 2 s.
	QueueTimeout time.Duration `env:"KLINGHOOK_QUEUE_TIMEOUT" envDefault:"250ms" form:"queue-timeout" secret:"none" roles:"ingest dev" help:"How long a delivery waits for Redis before it goes to the spool or, without one, is answered with 503. After some that have waited in vain the next do not wait at all."`

	MaxBody      int64    `env:"KLINGHOOK_MAX_BODY" envDefault:"1MiB" form:"size" secret:"none" roles:"ingest dev" help:"The largest delivery that is accepted."`
	MediaAllow   []string `env:"KLINGHOOK_MEDIA_ALLOW" form:"hosts" secret:"none" roles:"worker dev" help:"Hosts that downloads may reach although they are private or speak plain HTTP, such as a CDN inside the network."`
	MediaMaxSize int64    `env:"KLINGHOOK_MEDIA_MAX_SIZE" envDefault:"2GiB" form:"size" secret:"none" roles:"worker dev" help:"The largest file that is downloaded."`

	LookupAfter  time.Duration `env:"KLINGHOOK_LOOKUP_AFTER" envDefault:"15m" form:"duration" secret:"none" roles:"worker dev" help:"How long nothing may be heard of an unfinished job before Kling is asked about it. It doubles each time that brings no news, up to a day."`
	LookupGiveUp time.Duration `env:"KLINGHOOK_LOOKUP_GIVE_UP" envDefault:"168h" form:"duration" secret:"none" roles:"worker dev" help:"How long nothing may be heard of a job before it counts as lost."`
	LookupRate   float64       `env:"KLINGHOOK_LOOKUP_RATE" envDefault:"5" form:"rate" secret:"none" roles:"worker dev replay client" help:"How many requests a second are made to Kling's API at most: for look-ups by the whole fleet, for fresh links by each worker."`
	LinkLifetime time.Duration `env:"KLINGHOOK_LINK_LIFETIME" envDefault:"720h" form:"duration" secret:"none" roles:"worker dev store" help:"How long links to media live: Kling's for 30 days, those of some relays for an hour. Files that are not stored in the last tenth of that are shown by jobs list --expiring."`
	APITokens    []string      `env:"KLINGHOOK_API_TOKEN" form:"tokens" secret:"whole" roles:"worker dev" help:"Bearer tokens for PUT /jobs/<id> on the private address, which tells klinghook of a job that was submitted. Without one it is off."`

	SampleURL string `env:"KLINGHOOK_SAMPLE_URL" form:"http-url" secret:"none" roles:"client" help:"Where send's made-up jobs have their video.mp4 and thumbnail.jpg, unless it is told other links; the running dev has them too. Workers must be let reach it (KLINGHOOK_MEDIA_ALLOW)."`

	NotifyURLs    URLs    `env:"KLINGHOOK_NOTIFY_URLS" form:"service-urls" secret:"whole" roles:"worker dev" help:"Whom to tell: URLs of chat and e-mail services, as shoutrrr writes them."`
	NotifyEvents  Events  `env:"KLINGHOOK_NOTIFY_EVENTS" envDefault:"video.completed,video.failed,video.cancelled,video.lost" form:"events" secret:"none" roles:"worker dev" help:"The events to tell of, to people and to programs."`
	NotifyRate    float64 `env:"KLINGHOOK_NOTIFY_RATE" envDefault:"100" form:"rate" secret:"none" roles:"worker dev" help:"How many messages a second each destination, of people and of programs, gets from one worker at most. Slack wants 1, Discord 2. What is put off for it counts as no attempt."`
	ForwardURLs   URLs    `env:"KLINGHOOK_FORWARD_URLS" form:"http-urls" secret:"url" roles:"worker dev" help:"Programs to tell: each gets klinghook's own JSON, signed as Standard Webhooks says."`
	ForwardSecret string  `env:"KLINGHOOK_FORWARD_SECRET" form:"signing-secret" secret:"whole" roles:"worker dev" help:"The secret that signs what is forwarded; needed with KLINGHOOK_FORWARD_URLS."`

	Queues Queues `env:"KLINGHOOK_QUEUES" envDefault:"events=64,media=4,notify=8,rejections=1" form:"queues" secret:"none" roles:"worker dev" help:"How many tasks of each queue one process runs at once; of events, of all their shards together. A queue that is left out is not run in this process."`
	// EventShards is 1 to MaxEventShards.
	EventShards int `env:"KLINGHOOK_EVENT_SHARDS" envDefault:"1" form:"shards" secret:"none" roles:"ingest worker dev admin replay" help:"Over how many queues events are spread, for a Redis cluster, in which each queue lies on one node. It may be changed at any time; every process should have the same."`

	Grace time.Duration `env:"KLINGHOOK_GRACE" envDefault:"30s" form:"duration" secret:"none" roles:"ingest worker dev admin" help:"How long a process that is asked to stop lets running work finish."`

	LogLevel  string `env:"KLINGHOOK_LOG_LEVEL" envDefault:"info" form:"log-level" secret:"none" roles:"ingest worker dev admin" help:"The least level that is logged."`
	LogFormat string `env:"KLINGHOOK_LOG_FORMAT" envDefault:"auto" form:"log-format" secret:"none" roles:"ingest worker dev admin" help:"How logs are written; auto means console on a terminal and json elsewhere."`

	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" form:"http-url" secret:"none" roles:"ingest worker dev" help:"The OpenTelemetry collector to which traces are sent, by OTLP over HTTP: its port 4318, as a rule. Without it nothing is traced. OTEL_TRACES_SAMPLER and the SDK's other variables are heeded."`
	OTLPHeaders  string `env:"OTEL_EXPORTER_OTLP_HEADERS" form:"otlp-headers" secret:"whole" roles:"ingest worker dev" help:"Headers for the collector, such as a key."`

	// origins says of each setting that the role uses where its value is from.
	origins map[string]Origin
}

// URLs is a list of URLs that may hold commas themselves: in its text an item
// ends only where the next scheme:// begins.
type URLs []string

// Events is a list of event types, such as "video.completed". Its text may
// leave out "video.".
type Events []string

// EventTypes returns the event types that [Events] may hold, in a job's order.
// "video.lost" is klinghook's own.
func EventTypes() []string {
	return []string{"video.created", "video.processing", "video.completed", "video.failed", "video.cancelled", "video.lost"}
}

// MaxEventShards is over how many queues events can be spread.
const MaxEventShards = 64

// Queues says how many tasks of each queue one process runs at once; at least
// one of each queue that it names.
type Queues map[string]int

// QueueNames returns the queues that [Queues] may name, most urgent first.
func QueueNames() []string {
	return []string{"events", "media", "notify", "rejections"}
}

// String returns q as KLINGHOOK_QUEUES has it, in the order of QueueNames.
func (q Queues) String() string {
	var parts []string
	for _, name := range QueueNames() {
		if n, ok := q[name]; ok {
			parts = append(parts, fmt.Sprintf("%s=%d", name, n))
		}
	}
	return strings.Join(parts, ",")
}
