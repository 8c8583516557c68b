package source_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

func BenchmarkSeedVerify(b *testing.B) {
	for _, bm := range []struct {
		name    string
		secrets []string
	}{
		{"one secret", []string{"new"}},
		{"two secrets", []string{"old", "new"}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			src := newSource(b, "klingai", bm.secrets...)
			benchmarkVerify(b, src, source.SignSeed("new", []byte(seedCompleted)), []byte(seedCompleted), time.Time{})
		})
	}
}

func BenchmarkOfficialVerify(b *testing.B) {
	src := newSource(b, "klingai-official", klingSecret)
	benchmarkVerify(b, src, klingHeaders(), []byte(klingBody), klingSignedAt())
}

func benchmarkVerify(b *testing.B, src source.Source, header http.Header, body []byte, at time.Time) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Verify(header, body, at); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeedIdentify(b *testing.B) {
	longPrompt := strings.Replace(seedCompleted, "Original prompt...", strings.Repeat("a long prompt ", 1<<16), 1)
	manyKeys := `{"event":"video.created","data":{"job_id":"vid_1"` + strings.Repeat(`,"k":{"a":[1,2,3]}`, 1<<15) + `}}`
	deep := `{"event":"video.created","data":{"job_id":"vid_1"},"more":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`
	for _, bm := range []struct{ name, body string }{
		{"typical", seedCompleted},
		{"long prompt", longPrompt},
		{"many keys", manyKeys},
		{"deep", deep},
	} {
		b.Run(bm.name, func(b *testing.B) {
			benchmarkIdentify(b, newSource(b, "klingai"), nil, []byte(bm.body))
		})
	}
}

func BenchmarkOfficialIdentify(b *testing.B) {
	benchmarkIdentify(b, newSource(b, "klingai-official"), klingHeaders(), []byte(klingBody))
}

func benchmarkIdentify(b *testing.B, src source.Source, header http.Header, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Identify(header, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeedUpdate(b *testing.B) {
	src := newSource(b, "klingai")
	ev := tasks.Event{ID: "klingai:1", Body: []byte(seedCompleted)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Update(ev); err != nil {
			b.Fatal(err)
		}
	}
}
