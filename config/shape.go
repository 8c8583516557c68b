package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// shapes returns what turns a variable's text into a field of each type. Their
// errors go on where "it" or a list's item is the subject, and may quote the
// text only where no field of the type is a secret.
func shapes() map[reflect.Type]env.ParserFunc {
	return map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[bool]():          shape(parseSwitch),
		reflect.TypeFor[int]():           shape(parseCount),
		reflect.TypeFor[float64]():       shape(parseRate),
		reflect.TypeFor[int64]():         shape(parseSize),
		reflect.TypeFor[time.Duration](): shape(parseDuration),
		reflect.TypeFor[[]string]():      shape(splitList),
		reflect.TypeFor[URLs]():          shape(splitURLs),
		reflect.TypeFor[Events]():        shape(parseEvents),
		reflect.TypeFor[Queues]():        shape(parseQueues),
	}
}

// shape gives a parser the signature that env wants.
func shape[T any](parse func(string) (T, error)) env.ParserFunc {
	return func(text string) (any, error) { return parse(text) }
}

// parseSwitch reads true or false, and the other words that Go takes for them.
func parseSwitch(text string) (bool, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("is neither true nor false")
	}
	return on, nil
}

// parseRate reads a number, of which the form judges whether it is a rate.
func parseRate(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errors.New("is not a number")
	}
	return n, nil
}

// parseCount reads a whole number above zero, of which the form judges how large it
// may be.
func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, errors.New("is not a whole number")
	case n < 1:
		return 0, errors.New("is not above zero")
	}
	return n, nil
}

var errEmptyList = errors.New("is a list with nothing in it")

// splitList splits at commas, trims the items and drops empty ones.
func splitList(text string) ([]string, error) {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return nil, errEmptyList
	}
	return items, nil
}

// urlStart matches what separates a URL from the one before it, and its scheme.
var urlStart = regexp.MustCompile(`(?i)[,\s]+[a-z][a-z0-9+.-]*://`)

// splitURLs splits at commas and white space where a scheme:// follows them.
func splitURLs(text string) (URLs, error) {
	var urls URLs
	start := 0
	add := func(end int) {
		if item := strings.Trim(text[start:end], ", \t\r\n\v\f"); item != "" {
			urls = append(urls, item)
		}
		start = end
	}
	for _, match := range urlStart.FindAllStringIndex(text, -1) {
		add(match[0])
	}
	add(len(text))
	if len(urls) == 0 {
		return nil, errEmptyList
	}
	return urls, nil
}

// parseEvents reads event types, with "video." before them or without, and
// drops repeats.
func parseEvents(text string) (Events, error) {
	words, err := splitList(text)
	if err != nil {
		return nil, err
	}
	var events Events
	for _, word := range words {
		event := "video." + strings.TrimPrefix(word, "video.")
		if !slices.Contains(EventTypes(), event) {
			return nil, fmt.Errorf("names the event %s, which Kling does not send (did you mean %s?)", quote(word), nearest(event, EventTypes()))
		}
		if !slices.Contains(events, event) {
			events = append(events, event)
		}
	}
	return events, nil
}

// parseQueues reads "name=tasks" pairs.
func parseQueues(text string) (Queues, error) {
	pairs, err := splitList(text)
	if err != nil {
		return nil, err
	}
	queues := Queues{}
	for _, pair := range pairs {
		name, number, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !slices.Contains(QueueNames(), name) {
			return nil, fmt.Errorf("names the queue %s, which does not exist (did you mean %s?)", quote(name), nearest(name, QueueNames()))
		}
		if _, twice := queues[name]; twice {
			return nil, fmt.Errorf("names the queue %s twice", name)
		}
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if !found || err != nil || n < 1 {
			return nil, fmt.Errorf("does not say how many tasks of %s to run, 1 at least (leave the queue out to run none)", name)
		}
		queues[name] = n
	}
	return queues, nil
}

// parseDuration reads a length of time that may be zero.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return 0, errors.New("has no unit")
		}
		return 0, errors.New("is not a length of time")
	}
	if d < 0 {
		return 0, errors.New("is negative")
	}
	return d, nil
}

// sizeUnit is a unit of sizes and how many bytes it has.
type sizeUnit struct {
	name  string
	bytes int64
}

// sizeUnits returns the units of sizes, those of 1024 first and largest first.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
	}
}

// parseSize reads a size above zero: a whole number of bytes, or of a unit,
// whose letters may be of either case.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "BKMGTibkmgt ")
	suffix := strings.TrimSpace(text[len(digits):])
	unit := int64(1)
	if suffix != "" {
		i := slices.IndexFunc(sizeUnits(), func(u sizeUnit) bool { return strings.EqualFold(u.name, suffix) })
		if i < 0 {
			return 0, fmt.Errorf("has the unit %q, which is not one of sizes", suffix)
		}
		unit = sizeUnits()[i].bytes
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > math.MaxInt64/unit:
		return 0, errors.New("is out of range")
	case err != nil:
		return 0, errors.New("is not a size")
	case n < 1:
		return 0, errors.New("is not above zero")
	}
	return n * unit, nil
}

// formatSize writes a size so that parseSize reads it back: in the largest unit
// of 1024 that divides it, else in bytes.
func formatSize(size int64) string {
	for _, unit := range sizeUnits()[:4] {
		if size > 0 && size%unit.bytes == 0 {
			return strconv.FormatInt(size/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(size, 10)
}
