package testenv

import "testing"

func TestMain(m *testing.M) { Main(m) }

// runFunc stands in for a package's tests.
type runFunc func() int

func (f runFunc) Run() int { return f() }

func TestRun(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	leak := func() { go func() { <-release }() }
	leak() // It does not count, because it runs before the tests.

	tests := []struct {
		name string
		run  runFunc
		want int
	}{
		{"passing", func() int { return 0 }, 0},
		{"failing", func() int { return 3 }, 3},
		{"leaking", func() int { leak(); return 0 }, 1},
		{"failing and leaking", func() int { leak(); return 3 }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := run(tt.run, new(sharedServer)); got != tt.want {
				t.Errorf("run = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRunStopsSharedPostgres(t *testing.T) {
	bin := postgresBin(t)
	var server *postgres
	s := new(sharedServer)
	code := run(runFunc(func() int {
		c, _, err := s.next(t.Context(), bin)
		if err != nil {
			t.Error(err)
			return 1
		}
		again, _, err := s.next(t.Context(), bin)
		if err != nil || again != c {
			t.Errorf("second test got another server (error %v)", err)
		}
		server = c
		return 0
	}), s)
	if code != 0 {
		t.Fatalf("run = %d, want 0", code)
	}
	if err := server.exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the shared server still answers after the tests")
	}
}
