package destinations

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const secret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="

func testChecks() Checks {
	return Checks{
		Chat: func(url string) error {
			if strings.Contains(url, "bad") {
				return errors.New("is not a slack URL")
			}
			return nil
		},
		Event: func(event string) error {
			if !slices.Contains([]string{"completed", "failed"}, event) {
				return errors.New("the events are completed, failed")
			}
			return nil
		},
	}
}

func readText(t *testing.T, text string) ([]Destination, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"d.yaml": text, "shop.secret": secret + "\n", "weak.secret": "whsec_aHVudGVyMg==\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Read(filepath.Join(dir, "d.yaml"), testChecks())
}

func TestRead(t *testing.T) {
	got, err := readText(t, `# A comment.
destinations:
  - name: shop
    url: https://shop.example.com/hooks?key=1
    secret: `+secret+`
    events: [completed, failed]
    rate: 0.5
  - {name: crm-2, url: "http://crm.example", secret_file: shop.secret}
  - name: team.chat
    url: slack://hook:token@webhook
    events:
      - failed
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Destination{
		{"shop", "https://shop.example.com/hooks?key=1", secret, []string{"completed", "failed"}, 0.5},
		{"crm-2", "http://crm.example", secret, nil, 0},
		{"team.chat", "slack://hook:token@webhook", "", []string{"failed"}, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReadReportsEveryProblem(t *testing.T) {
	const chat = "destinations:\n- name: a\n  url: slack://hunter2@x\n"
	tests := []struct {
		name, text string
		want       []string // one per problem
	}{
		{"empty", "", []string{"is empty"}},
		{"a comment", "# nothing\n", []string{"is empty"}},
		{"no YAML", "destinations:\n - a: b: c\n", []string{"is not YAML: line 2: mapping values"}},
		{"an unknown alias", "destinations: *hunter2", []string{"is not YAML: unknown anchor … referenced"}},
		{"a list", "- name: a", []string{"line 1: the file must have the keys destinations"}},
		{"another key", "destination: []", []string{"line 1: unknown key destination; the file can have destinations", "line 1: the key destinations is missing"}},
		{"no list", "destinations: {}", []string{"line 1: destinations must be a list"}},
		{"two documents", chat + "---\n" + chat, []string{"line 4: a second YAML document"}},
		{"no mapping", "destinations:\n- https://hunter2.example\n", []string{"line 2: a destination must have the keys name, url, secret"}},
		{"unknown and repeated keys", chat + "  urls: b\n  whsec_hunter2: c\n  name: b\n", []string{
			"line 4: unknown key urls; a destination can have name, url, secret, secret_file, events, rate",
			"line 5: unknown key …", "line 6: the key name is already in line 2",
		}},
		{"nothing", "destinations:\n- events: [failed]\n", []string{"line 2: name is missing", "line 2: url is missing"}},
		{"wrong types", "destinations:\n- name: [a]\n  url: {}\n  events: failed\n  rate: fast\n", []string{
			"line 2: name must be text", "line 4: events must be a list", "line 5: rate must be a number above 0, such as 5", "line 3: url must be text",
		}},
		{"nulls", "destinations:\n- name:\n  url: ~\n", []string{"line 2: name must be text", "line 3: url must be text"}},
		{"an alias", "destinations:\n- name: &n a\n  url: slack://x@y\n- name: *n\n  url: slack://x@y\n", []string{"line 4: name is an alias"}},
		{"names", "destinations:\n- {name: a/b, url: slack://x@y}\n- {name: A, url: slack://x@y}\n- {name: -a, url: slack://x@y}\n- {name: a, url: slack://x@y}\n- {name: a, url: slack://x@y}\n", []string{
			"line 2: name must be at most 63", "line 3: name must", "line 4: name must", `line 6: the name "a" is already used in line 5`,
		}},
		{"an unknown event", strings.Replace(chat, "url", "events: [failed, lots]\n  url", 1), []string{"line 3: unknown event; the events are completed, failed"}},
		{"a chat URL", "destinations:\n- {name: a, url: slack://hunter2bad@x}\n- {name: b, url: hunter2}\n", []string{"line 2: url is not a slack URL", "line 3: url must be URLs separated"}},
		{"a forward URL", "destinations:\n- {name: a, url: 'http://', secret: " + secret + "}\n- {name: b, url: 'https://h/CHANGE-ME', secret: " + secret + "}\n", []string{"line 2: url must be HTTP URLs", "line 3: url is an example"}},
		{"secrets", `destinations:
- {name: a, url: https://h}
- {name: b, url: https://h, secret: whsec_aHVudGVyMg==}
- {name: c, url: https://h, secret: hunter2}
- {name: d, url: https://h, secret_file: weak.secret}
- {name: e, url: https://h, secret_file: nowhere.secret}
- {name: f, url: https://h, secret: "` + secret + ` "}
- {name: g, url: https://h, secret: a, secret_file: b}
- {name: h, url: slack://x@y, secret: ` + secret + `}
- {name: i, url: https://h, secret: ""}
`, []string{
			"line 2: secret or secret_file is missing", "line 3: secret is too short", "line 4: secret must be whsec_ and a key in base64",
			"line 5: secret_file is too short", "line 6: secret_file: open ", "line 7: secret contains white space",
			"line 8: secret and secret_file are both set", "line 9: only forwards", "line 10: secret must be text",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readText(t, tt.text)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows a secret", err)
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(tt.want) {
				t.Fatalf("problems %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("problem %q, want %q", got[i], want)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"destinations:\n- {name: a, url: https://h, secret: " + secret + "}\n", "&a [*a]", "destinations: &a [*a]", "<<: 1", "- - -", "destinations: [{name: !!binary aA==}]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readText(t, text)
		for _, d := range list {
			if err == nil && (!names.MatchString(d.Name) || d.URL == "" || d.Rate < 0 || (d.Secret == "") == isForward(d.URL)) {
				t.Fatalf("%q gives %+v", text, d)
			}
		}
	})
}
