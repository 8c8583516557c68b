// Package destinations reads the file of KLINGHOOK_DESTINATIONS, which describes several
// destinations of notifications in YAML:
//
//	destinations:
//	  - name: shop                                # required; must not change
//	    url: https://shop.example.com/hooks/kling # required
//	    secret_file: shop.secret                  # or secret: whsec_…; signs forwards
//	    events: [completed, failed]               # default: KLINGHOOK_NOTIFY_EVENTS
//	    rate: 10                                  # default: KLINGHOOK_NOTIFY_RATE
//	  - name: team
//	    url: slack://hook:T0…@webhook
//
// An http or https URL is a forward and needs a secret; any other is a chat service.
package destinations

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/klinghook/klinghook/config"
)

// Destination is one destination. Events and Rate are zero if the file has none.
type Destination struct {
	Name, URL string
	// Secret signs forwards; empty for chat.
	Secret string
	Events []string
	Rate   float64
}

// Checks validate values. Their errors must not show secrets.
type Checks struct {
	// Chat checks the URL of a chat service, and Event an event type.
	Chat, Event func(string) error
}

// maxSize limits the size of the file, in bytes.
const maxSize = 1 << 20

var (
	// names are safe in task ids, file names and metrics.
	names = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)
	// plainKey matches keys that an error may show: others may be secrets.
	plainKey = regexp.MustCompile(`^[A-Za-z_-]{1,20}$`)
	quoted   = regexp.MustCompile(`'[^']*'`)
)

// Read reads a file of destinations. Its error lists all problems, each with its line,
// and shows no secret.
func Read(path string, checks Checks) ([]Destination, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("is larger than %d bytes", maxSize)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	err = decoder.Decode(&document)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("is not YAML: %s", quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "…"))
	}
	if len(document.Content) == 0 {
		return nil, errors.New("is empty; it must have the key destinations")
	}
	r := reader{dir: filepath.Dir(path), checks: checks}
	list := r.list(document.Content[0])
	if second := (&yaml.Node{}); !errors.Is(decoder.Decode(second), io.EOF) {
		r.problem(second, "a second YAML document; write all destinations in the first")
	}
	return list, errors.Join(r.problems...)
}

// reader collects problems.
type reader struct {
	dir      string // of the file
	checks   Checks
	problems []error
}

func (r *reader) problem(at *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("line %d: "+format, append([]any{at.Line}, args...)...))
}

func (r *reader) list(root *yaml.Node) []Destination {
	fields := r.fields(root, "the file", "destinations")
	node := fields["destinations"]
	if fields != nil && node == nil {
		r.problem(root, "the key destinations is missing")
	}
	if node == nil {
		return nil
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		r.problem(node, "destinations must be a list, each item with at least a name and a url")
		return nil
	}
	list, lines := make([]Destination, len(node.Content)), map[string]int{}
	for i, item := range node.Content {
		list[i] = r.destination(item)
		if first, again := lines[list[i].Name]; again && list[i].Name != "" {
			r.problem(item, "the name %q is already used in line %d", list[i].Name, first)
		} else {
			lines[list[i].Name] = item.Line
		}
	}
	return list
}

func (r *reader) destination(item *yaml.Node) (d Destination) {
	fields := r.fields(item, "a destination", "name", "url", "secret", "secret_file", "events", "rate")
	if fields == nil {
		return d
	}
	d.Name = r.name(item, fields)
	d.Events, d.Rate = r.events(fields["events"]), r.rate(fields)
	d.URL = r.url(item, fields)
	if d.URL != "" {
		d.Secret = r.secret(item, fields, isForward(d.URL))
	}
	return d
}

func (r *reader) name(item *yaml.Node, fields map[string]*yaml.Node) string {
	name := r.text(fields, "name")
	switch {
	case fields["name"] == nil:
		r.problem(item, "name is missing")
	case name != "" && !names.MatchString(name):
		r.problem(fields["name"], "name must be at most 63 lower-case letters, digits, -, _ and ., with a letter or digit at both ends")
		return ""
	}
	return name
}

// fields returns the values of a mapping; nil if node is not one.
func (r *reader) fields(node *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if node.Kind != yaml.MappingNode {
		r.problem(node, "%s must have the keys %s", what, strings.Join(known, ", "))
		return nil
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch shown := key.Value; {
		case !slices.Contains(known, key.Value):
			if !plainKey.MatchString(shown) {
				shown = "…"
			}
			r.problem(key, "unknown key %s; %s can have %s", shown, what, strings.Join(known, ", "))
		case found[key.Value] != nil:
			r.problem(key, "the key %s is already in line %d", key.Value, found[key.Value].Line)
		case value.Kind == yaml.AliasNode:
			r.problem(value, "%s is an alias; write the value itself", key.Value)
			found[key.Value] = &yaml.Node{Kind: yaml.AliasNode, Line: value.Line}
		default:
			found[key.Value] = value
		}
	}
	return found
}

// text returns the text of a field; empty if it is missing or wrong.
func (r *reader) text(fields map[string]*yaml.Node, key string) string {
	node := fields[key]
	switch {
	case node == nil, node.Kind == yaml.AliasNode:
		return ""
	case node.Kind != yaml.ScalarNode, node.ShortTag() == "!!null", node.Value == "":
		r.problem(node, "%s must be text", key)
		return ""
	}
	return node.Value
}

func (r *reader) events(node *yaml.Node) (events []string) {
	if node == nil || node.Kind == yaml.AliasNode {
		return nil
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		r.problem(node, "events must be a list such as [completed, failed]")
		return nil
	}
	for _, item := range node.Content {
		if err := r.checks.Event(item.Value); err != nil {
			r.problem(item, "unknown event; %v", err)
			continue
		}
		events = append(events, item.Value)
	}
	return events
}

func (r *reader) rate(fields map[string]*yaml.Node) float64 {
	text := r.text(fields, "rate")
	if text == "" {
		return 0
	}
	if problem := config.Lookup("KLINGHOOK_NOTIFY_RATE").Problem(text); problem != "" {
		r.problem(fields["rate"], "rate %s", problem)
	}
	rate, _ := strconv.ParseFloat(text, 64) // checked
	return rate
}

// isForward reports whether a URL is an HTTP endpoint and not a chat service.
func isForward(url string) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(url), "://")
	return scheme == "http" || scheme == "https"
}

func (r *reader) url(item *yaml.Node, fields map[string]*yaml.Node) string {
	if fields["url"] == nil {
		r.problem(item, "url is missing")
	}
	url := r.text(fields, "url")
	if url == "" {
		return ""
	}
	like := config.Lookup("KLINGHOOK_NOTIFY_URLS")
	if isForward(url) {
		like = config.Lookup("KLINGHOOK_FORWARD_URLS")
	}
	if problem := like.Problem(url); problem != "" {
		r.problem(fields["url"], "url %s", problem)
	} else if !isForward(url) {
		if err := r.checks.Chat(url); err != nil {
			r.problem(fields["url"], "url %v", err)
		}
	}
	return url
}

// secret returns the secret of a forward.
func (r *reader) secret(item *yaml.Node, fields map[string]*yaml.Node, needed bool) string {
	inline, file := fields["secret"], fields["secret_file"]
	switch {
	case !needed && (inline != nil || file != nil):
		r.problem(item, "only forwards, to http or https URLs, have a secret")
		return ""
	case inline != nil && file != nil:
		r.problem(inline, "secret and secret_file are both set; remove one")
		return ""
	case needed && inline == nil && file == nil:
		r.problem(item, "secret or secret_file is missing; it must be %s", config.Lookup("KLINGHOOK_FORWARD_SECRET").Form)
		return ""
	case !needed:
		return ""
	}
	key, node := "secret", inline
	secret := r.text(fields, "secret")
	if file != nil {
		key, node = "secret_file", file
		path := r.text(fields, key)
		if path == "" {
			return ""
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.dir, path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			r.problem(file, "secret_file: %v", err)
			return ""
		}
		secret = strings.TrimRight(string(content), "\r\n")
	}
	if problem := config.Lookup("KLINGHOOK_FORWARD_SECRET").Problem(secret); problem != "" && (secret != "" || file != nil) {
		r.problem(node, "%s %s", key, problem)
	}
	return secret
}
