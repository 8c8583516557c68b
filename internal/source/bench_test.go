package source_test

import (
	"strings"
	"testing"
)

// BenchmarkSeedIdentify measures a usual body and the slowest ones of 1 MiB.
func BenchmarkSeedIdentify(b *testing.B) {
	const start = `{"event":"video.created","data":{"job_id":"vid_1"`
	for _, bm := range []struct{ name, body string }{
		{"usual", seedCompleted},
		{"long prompt", start + `,"prompt":"` + strings.Repeat("a long prompt ", 1<<16) + `"}}`},
		{"many keys", start + strings.Repeat(`,"k":{"a":[1,2,3]}`, 1<<15) + `}}`},
		{"deep", start + `},"more":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			src := newSource(b, "klingai")
			b.SetBytes(int64(len(bm.body)))
			for b.Loop() {
				if _, err := src.Identify(nil, []byte(bm.body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
