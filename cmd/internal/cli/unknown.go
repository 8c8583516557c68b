package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/config"
)

// unknownVariables reports variables with klinghook's prefix that are not settings.
func unknownVariables(environ []string) []string {
	var known, names, problems []string
	for _, setting := range config.Settings() {
		known = append(known, setting.Name)
		if setting.Secret != config.SecretNone {
			known = append(known, setting.FileName())
		}
	}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, "KLINGHOOK_") && !slices.Contains(known, name) && !isForeign(name, names) {
			nearest := slices.MaxFunc(known, func(a, b string) int { return cmp.Compare(likeness(name, a), likeness(name, b)) })
			problems = append(problems, fmt.Sprintf("%s is not a setting; did you mean %s?", name, nearest))
		}
	}
	return problems
}

// foreign matches variables that are not for klinghook: those that Kubernetes sets for a
// Service named klinghook, such as KLINGHOOK_PORT, and those of docker-compose.yml in .env.
var foreign = regexp.MustCompile(`^(KLINGHOOK(?:_[A-Z0-9]+)*?)_(?:SERVICE_|PORT_|PORT$|SITE$|VERSION$)`)

func isForeign(name string, names []string) bool {
	match := foreign.FindStringSubmatch(name)
	return len(match) == 2 && slices.ContainsFunc([]string{match[1] + "_SERVICE_HOST", "ENV_FILE", "KLINGHOOK_SITE"}, func(sign string) bool {
		return slices.Contains(names, sign)
	})
}

// likeness compares two names by the letters they share at their start and end.
func likeness(name, known string) (shared int) {
	shorter := min(len(name), len(known))
	for shared < shorter && name[shared] == known[shared] {
		shared++
	}
	for end := 1; shared < shorter && name[len(name)-end] == known[len(known)-end]; end++ {
		shared++
	}
	return 2*shared - len(known)
}
