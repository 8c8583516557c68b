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

// parse reads docker-compose.yml, and files over it, as `docker compose` does with all
// profiles and these variables.
func parse(t *testing.T, variables map[string]string, over ...string) (*types.Project, error) {
	t.Helper()
	files := append([]string{filepath.Join(root, "docker-compose.yml")}, over...)
	options, err := cli.NewProjectOptions(files, cli.WithName("klinghook"), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(options.Environment, variables)
	return options.LoadProject(t.Context())
}

func load(t *testing.T, variables map[string]string, over ...string) *types.Project {
	t.Helper()
	project, err := parse(t, variables, over...)
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

// open returns the ports that other machines reach.
func open(project *types.Project) (ports []string) {
	for _, s := range project.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				ports = append(ports, s.Name+" "+port.Published)
			}
		}
	}
	slices.Sort(ports)
	return ports
}

func TestServicesAreRestricted(t *testing.T) {
	project := load(t, nil)
	// Everybody knows the default secrets.
	if ports := open(project); len(ports) > 0 {
		t.Errorf("other machines reach %q", ports)
	}
	pinned := regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+(\.\d+)?(-alpine)?$`)
	for _, s := range project.Services {
		if s.Privileged || s.NetworkMode != "" || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", s.Name)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s can write to %s", s.Name, v.Source)
			}
		}
		if s.MemLimit == 0 || s.Logging == nil || s.Logging.Options["max-size"] == "" {
			t.Errorf("the memory or the log of %s has no limit", s.Name)
		}
		if !strings.HasPrefix(s.Image, "localhost/") {
			if !pinned.MatchString(s.Image) {
				t.Errorf("%s has the image %s, want a whole version", s.Name, s.Image)
			}
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.User != "" || s.PullPolicy != types.PullPolicyNever {
			t.Errorf("%s: read_only %v, drops %q, adds %q, user %q, pull %q", s.Name, s.ReadOnly, s.CapDrop, s.CapAdd, s.User, s.PullPolicy)
		}
	}
}

func TestNetworksSeparatePublicProcessesFromDatabase(t *testing.T) {
	project := load(t, nil)
	for service, want := range map[string]string{
		"proxy":    "default front",
		"ingest":   "front queue",
		"worker":   "database default queue",
		"admin":    "database default queue",
		"migrate":  "database",
		"redis":    "queue",
		"postgres": "database",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(project.Services[service].Networks)), " "); got != want {
			t.Errorf("%s has the networks %s, want %s", service, got, want)
		}
	}
	for name, network := range project.Networks {
		if want := name != "default"; network.Internal != want {
			t.Errorf("network %s: internal is %v", name, network.Internal)
		}
	}
}

func TestDockerfileBuildsWithOurGo(t *testing.T) {
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

// TestEnvExampleHasTheDefaults checks that .env.example changes nothing, and names only
// variables that something uses.
func TestEnvExampleHasTheDefaults(t *testing.T) {
	text := read(t, ".env.example")
	given, err := dotenv.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	delete(given, "ENV_FILE") // there is no .env here
	plain, errPlain := load(t, nil).MarshalYAML()
	example, errExample := load(t, given).MarshalYAML()
	if errPlain != nil || errExample != nil || string(plain) != string(example) {
		t.Errorf("with .env.example (%v):\n%s\nwithout (%v):\n%s", errExample, example, errPlain, plain)
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
		if v.DefaultValue != "" && name != "SIMULATE_API_KEY" && name != "KLINGHOOK_SITE" && !line.MatchString(text) {
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
	if got, want := open(project), []string{"proxy 443", "proxy 443", "proxy 80"}; !slices.Equal(got, want) {
		t.Errorf("open to the internet: %q, want %q", got, want)
	}
	for name := range given {
		without := maps.Clone(given)
		delete(without, name)
		if _, err := parse(t, without, "public.yaml"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v, want an error that names it", name, err)
		}
	}
}
