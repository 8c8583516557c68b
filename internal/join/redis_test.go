package join

import (
	"fmt"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestRedisScriptsKeepTheirOwnAnswers(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := Redis(redis.NewClient(&redis.Options{Addr: server.Addr()}))
	defer func() { _ = rdb.Close() }()
	script := redis.NewScript(`if ARGV[1] == "bad" then return redis.error_reply("BAD") end return ARGV[1]`)
	var group sync.WaitGroup
	for n := range 200 {
		group.Go(func() {
			want := fmt.Sprint(n)
			if n == 100 {
				want = "bad"
			}
			got, err := script.Run(t.Context(), rdb, []string{"key"}, want).Text()
			if n == 100 {
				if err == nil {
					t.Errorf("script %d succeeded, want its own error", n)
				}
			} else if err != nil || got != want {
				t.Errorf("script %d answered %q, %v", n, got, err)
			}
		})
	}
	group.Wait()
}
