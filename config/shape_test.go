package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64
		err  string
	}{
		{"1048576", 1 << 20, ""},
		{"1MiB", 1 << 20, ""},
		{"512KiB", 512 << 10, ""},
		{"512 kib", 512 << 10, ""},
		{"1MB", 1e6, ""},
		{"1kB", 1e3, ""},
		{"2GiB", 2 << 30, ""},
		{"3TB", 3e12, ""},
		{"7B", 7, ""},
		{"8388607TiB", 8388607 << 40, ""},
		{"9223372036854775807", math.MaxInt64, ""},
		{"8388608TiB", 0, "out of range"},
		{"9223372036854775808", 0, "out of range"},
		{"0", 0, "not above zero"},
		{"-1MiB", 0, "not above zero"},
		{"1.5GiB", 0, "not a size"},
		{"MiB", 0, "not a size"},
		{"", 0, "not a size"},
		{"much", 0, "not a size"},
		{"1M", 0, `the unit "M"`},
		{"1BB", 0, `the unit "BB"`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parseSize(tt.text)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %d, %v; want %d, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestFormatSize(t *testing.T) {
	for size, want := range map[int64]string{0: "0", 1: "1", 1e6: "1000000", 1 << 20: "1MiB", 3 << 29: "1536MiB", 2 << 40: "2TiB", 1<<20 + 1: "1048577"} {
		if got := formatSize(size); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", size, got, want)
		}
	}
}

func TestSplitURLs(t *testing.T) {
	tests := []struct {
		name, text string
		want       URLs
	}{
		{"one", "slack://a-b-c", URLs{"slack://a-b-c"}},
		{"two by a comma", "slack://a,discord://b@c", URLs{"slack://a", "discord://b@c"}},
		{"two by lines", "slack://a\ndiscord://b\r\n", URLs{"slack://a", "discord://b"}},
		{"comma and space", "  slack://a , discord://b ,", URLs{"slack://a", "discord://b"}},
		{"commas inside", "smtp://h/?to=a@x.org,b@x.org,telegram://t@telegram?chats=1,@2", URLs{"smtp://h/?to=a@x.org,b@x.org", "telegram://t@telegram?chats=1,@2"}},
		{"a URL inside", "generic://h/?u=http://x/,https://y", URLs{"generic://h/?u=http://x/", "https://y"}},
		{"schemes with signs", "generic+https://a,SLACK://b", URLs{"generic+https://a", "SLACK://b"}},
		{"no scheme", "a,b", URLs{"a,b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := splitURLs(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if got, err := splitURLs(" , \n"); err == nil {
		t.Errorf("a list with nothing in it gives %q", got)
	}
}

func TestParseSwitch(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "1": true, "false": false, "0": false} {
		if got, err := parseSwitch(text); err != nil || got != want {
			t.Errorf("parseSwitch(%q) = %t, %v; want %t", text, got, err, want)
		}
	}
	if _, err := parseSwitch("on"); err == nil {
		t.Error("parseSwitch took \"on\"")
	}
}

func TestParseEvents(t *testing.T) {
	tests := []struct {
		name, text string
		want       Events
		err        string
	}{
		{"short", "completed, failed", Events{"video.completed", "video.failed"}, ""},
		{"all, long", "video.created,video.processing,video.completed,video.failed,video.cancelled,video.lost", Events(EventTypes()), ""},
		{"repeated", "failed,video.failed", Events{"video.failed"}, ""},
		{"misspelt", "canceled", nil, `"canceled", which Kling does not send (did you mean video.cancelled?)`},
		{"unknown", "failed,video.done", nil, `the event "video.done"`},
		{"nothing", ",", nil, "nothing in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseEvents(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestParseQueues(t *testing.T) {
	tests := []struct {
		name, text string
		want       Queues
		err        string
	}{
		{"all", "notify=8,events=16,media=4", Queues{"events": 16, "media": 4, "notify": 8}, ""},
		{"one, spaced", " media = 2 ", Queues{"media": 2}, ""},
		{"unknown", "medai=2", nil, `the queue "medai", which does not exist (did you mean media?)`},
		{"twice", "media=2,media=3", nil, "the queue media twice"},
		{"no number", "media", nil, "how many tasks of media"},
		{"zero", "media=0", nil, "how many tasks of media"},
		{"no integer", "media=1.5", nil, "how many tasks of media"},
		{"nothing", ",", nil, "nothing in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseQueues(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	if got, want := (Queues{"notify": 8, "events": 16}).String(), "events=16,notify=8"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		err  string
	}{
		{"30s", 30 * time.Second, ""},
		{"1m30s", 90 * time.Second, ""},
		{"0s", 0, ""},
		{"0", 0, ""},
		{"30", 0, "has no unit"},
		{"-1s", 0, "is negative"},
		{"soon", 0, "is not a length of time"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parseDuration(tt.text)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, %v; want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"1048576", "1MiB", " 2 gb ", "-1", "9223372036854775807TiB", "1e3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := parseSize(text)
		if err != nil {
			return
		}
		if size < 1 {
			t.Fatalf("parseSize(%q) = %d", text, size)
		}
		if again, err := parseSize(formatSize(size)); err != nil || again != size {
			t.Fatalf("%q is %d; formatted %q is %d, %v", text, size, formatSize(size), again, err)
		}
	})
}

func FuzzSplitURLs(f *testing.F) {
	for _, seed := range []string{"a://b,c://d", "smtp://h/?to=a,b ,\tx+y://z", ",,", "://", "a,b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		urls, err := splitURLs(text)
		if err != nil {
			return
		}
		for _, item := range urls {
			if item == "" || !strings.Contains(text, item) {
				t.Fatalf("%q gives %q", text, item)
			}
		}
		// What was split stays so, however the items are joined again.
		for _, separator := range []string{",", " , ", "\n"} {
			again, err := splitURLs(strings.Join(urls, separator))
			if diff := cmp.Diff(urls, again); err != nil || diff != "" {
				t.Fatalf("%q joined by %q: %v\n%s", text, separator, err, diff)
			}
		}
	})
}
