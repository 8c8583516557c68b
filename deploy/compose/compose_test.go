package compose

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

// root is the repository.
const root = "../.."

// load reads docker-compose.yml, and files over it, as `docker compose` does with all
// profiles and these variables.
func load(t *testing.T, variables map[string]string, over ...string) *types.Project {
	t.Helper()
	files := []string{filepath.Join(root, "docker-compose.yml")}
	files = append(files, over...)
	var env []string
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	options, err := cli.NewProjectOptions(files, cli.WithEnv(env), cli.WithName("klinghook"), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestPortsAreLoopbackOnly: everybody knows the default secrets.
func TestPortsAreLoopbackOnly(t *testing.T) {
	for _, s := range load(t, nil).Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %s at %q", s.Name, port.Published, port.HostIP)
			}
		}
		if s.Privileged || s.NetworkMode != "" || slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Type == types.VolumeTypeBind && !v.ReadOnly
		}) {
			t.Errorf("%s can write to this machine, or uses its network", s.Name)
		}
	}
}

func TestNetworksSeparatePublicProcessesFromDatabase(t *testing.T) {
	project := load(t, nil)
	for name, network := range project.Networks {
		if want := name != "default"; network.Internal != want {
			t.Errorf("network %s: internal is %v", name, network.Internal)
		}
	}
	for _, service := range []string{"ingest", "redis", "postgres", "migrate"} {
		if _, outside := project.Services[service].Networks["default"]; outside {
			t.Errorf("%s can reach the outside", service)
		}
	}
	for name := range project.Services["postgres"].Networks {
		for _, service := range []string{"ingest", "proxy"} {
			if _, shared := project.Services[service].Networks[name]; shared {
				t.Errorf("%s can reach the database", service)
			}
		}
	}
}

func TestContainersHaveLeastPrivileges(t *testing.T) {
	for _, s := range load(t, nil).Services {
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", s.Name)
		}
		if s.Logging == nil || s.Logging.Options["max-size"] == "" {
			t.Errorf("the log of %s grows without bounds", s.Name)
		}
		if !strings.HasPrefix(s.Image, "localhost/") {
			if s.MemLimit == 0 {
				t.Errorf("the memory of %s has no limit", s.Name)
			}
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.User != "" {
			t.Errorf("%s: read_only %v, drops %q, adds %q, user %q; want a read-only container without capabilities", s.Name, s.ReadOnly, s.CapDrop, s.CapAdd, s.User)
		}
		if s.PullPolicy != types.PullPolicyNever {
			t.Errorf("%s may be pulled, though it is built here", s.Name)
		}
	}
}

// TestImagesArePinned wants whole versions; a digest is for those who deploy to add.
func TestImagesArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+(\.\d+)?(-alpine)?$`)
	for _, s := range load(t, nil).Services {
		if !strings.HasPrefix(s.Image, "localhost/") && !pinned.MatchString(s.Image) {
			t.Errorf("%s has the image %s", s.Name, s.Image)
		}
	}
	dockerfile := read(t, "deploy/Dockerfile")
	compiler := regexp.MustCompile(`(?m)^ARG GO_VERSION=(1\.\d+)\.\d+$`).FindStringSubmatch(dockerfile)
	language := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if compiler == nil || language == nil || compiler[1] != language[1] {
		t.Errorf("the Dockerfile compiles with %q, go.mod says %q", compiler, language)
	}
	for _, s := range load(t, nil).Services {
		if s.Build != nil && !strings.Contains(dockerfile, " AS "+s.Build.Target+"\n") {
			t.Errorf("the Dockerfile has no target %q of %s", s.Build.Target, s.Name)
		}
	}
}

// TestEnvExampleHasTheDefaults checks that .env.example changes nothing, and names
// only variables that something uses.
func TestEnvExampleHasTheDefaults(t *testing.T) {
	text := read(t, ".env.example")
	given, err := dotenv.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	delete(given, "ENV_FILE") // there is no .env here
	plain, example := load(t, nil), load(t, given)
	for name, s := range plain.Services {
		got, want := example.Services[name], s
		for _, view := range []func(types.ServiceConfig) any{
			func(s types.ServiceConfig) any { return s.Environment.ToMapping() },
			func(s types.ServiceConfig) any { return s.Ports },
			func(s types.ServiceConfig) any { return s.Command },
		} {
			a, errA := yaml.Marshal(view(got))
			b, errB := yaml.Marshal(view(want))
			if errA != nil || errB != nil || string(a) != string(b) {
				t.Errorf("%s with .env.example:\n%s\nwithout:\n%s", name, a, b)
			}
		}
	}
	var raw map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &raw); err != nil {
		t.Fatal(err)
	}
	variables := template.ExtractVariables(raw, template.DefaultPattern)
	settings := read(t, "docs/configuration.md")
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z0-9_]+)=`).FindAllStringSubmatch(text, -1) {
		if _, used := variables[m[1]]; !used && m[1] != "COMPOSE_PROFILES" && !strings.Contains(settings, "`"+m[1]+"`") {
			t.Errorf(".env.example has %s, which neither docker-compose.yml nor klinghook uses", m[1])
		}
	}
	for name, v := range variables {
		line := regexp.MustCompile(`(?m)^#?` + name + `=`)
		if v.DefaultValue != "" && name != "SIMULATE_API_KEY" && name != "KLINGHOOK_SITE" && name != "KLINGHOOK_MEDIA_ALLOW" && !line.MatchString(text) {
			t.Errorf(".env.example does not have %s, whose default is %q", name, v.DefaultValue)
		}
	}
}

// TestPublicStackNeedsSecrets checks that the stack cannot be opened to the internet
// with the default secrets.
func TestPublicStackNeedsSecrets(t *testing.T) {
	given := map[string]string{"KLINGHOOK_SITE": "hooks.example.com", "KLINGHOOK_ADMIN_TOKEN": "one", "POSTGRES_PASSWORD": "two"}
	project := load(t, given, "public.yaml")
	for name, value := range project.Services["ingest"].Environment {
		if strings.HasSuffix(name, "_SECRET") && (value == nil || *value != "") {
			t.Errorf("ingest has a default %s", name)
		}
	}
	var open []string
	for _, s := range project.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				open = append(open, s.Name+" "+port.Published)
			}
		}
	}
	slices.Sort(open)
	if want := []string{"proxy 443", "proxy 443", "proxy 80"}; !slices.Equal(open, want) {
		t.Errorf("open to the internet: %q, want %q", open, want)
	}
	for name := range given {
		without := maps.Clone(given)
		delete(without, name)
		options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml"), "public.yaml"}, cli.WithName("klinghook"))
		if err != nil {
			t.Fatal(err)
		}
		options.Environment = types.Mapping(without)
		if _, err := options.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v, want an error that names it", name, err)
		}
	}
}
