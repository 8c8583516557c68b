package spool

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestRecordRoundTrip(t *testing.T) {
	tests := []struct {
		name    string
		task    tasks.Task
		arrived time.Time
	}{
		{"event", tasks.Task{Kind: tasks.KindEventRecord, ID: "event:record:klingai:1", Payload: []byte(`{"id":"1"}`)}, time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.UTC)},
		{"traced event", tasks.Task{Kind: "k", ID: "i", Payload: []byte("{}"), Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, time.Unix(1, 0).UTC()},
		{"nothing in it", tasks.Task{}, time.Unix(0, 0).UTC()},
		{"bytes that are no text", tasks.Task{Kind: "\x00\xff", ID: "a\x00/b", Payload: []byte{0, 0xff, 0xfe}}, time.Unix(1, 0).UTC()},
		{"long id", tasks.Task{Kind: "k", ID: strings.Repeat("i", 10<<10), Payload: bytes.Repeat([]byte("p"), 64<<10)}, time.Unix(1, 0).UTC()},
		{"year 0", tasks.Task{Kind: "k", ID: "i"}, time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"year 9999", tasks.Task{Kind: "k", ID: "i"}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := encodeRecord(tt.task, tt.arrived)
			if err != nil {
				t.Fatal(err)
			}
			task, arrived, err := decodeRecord(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.task, task); diff != "" {
				t.Errorf("task (-want +got):\n%s", diff)
			}
			if !arrived.Equal(tt.arrived) {
				t.Errorf("arrived %v, want %v", arrived, tt.arrived)
			}
		})
	}
}

// TestUntracedRecordStaysAsItWas checks that who traces nothing can go back to a
// release that reads only the first version.
func TestUntracedRecordStaysAsItWas(t *testing.T) {
	b, err := encodeRecord(goldenTask())
	if err != nil || hex.EncodeToString(b) != goldenRecord {
		t.Errorf("the record is %x, %v; want %s", b, err, goldenRecord)
	}
}

// goldenRecord was written by the first release. Every later one must read it.
const goldenRecord = "011e51b5f70006475ef64cf3400000000c6576656e743a7265636f7264000000166576656e743a7265636f72643a6b6c696e6761693a317b7d"

func goldenTask() (tasks.Task, time.Time) {
	return tasks.Task{Kind: "event:record", ID: "event:record:klingai:1", Payload: []byte("{}")}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
}

func TestRecordGolden(t *testing.T) {
	wantTask, wantTime := goldenTask()
	b, err := hex.DecodeString(goldenRecord)
	if err != nil {
		t.Fatal(err)
	}
	task, arrived, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantTask, task); diff != "" || !arrived.Equal(wantTime) {
		t.Errorf("arrived %v, want %v; task (-want +got):\n%s", arrived, wantTime, diff)
	}
}

func TestRecordDamage(t *testing.T) {
	task, arrived := goldenTask()
	good, err := encodeRecord(task, arrived)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		damaged := bytes.Clone(good)
		damaged[i] ^= 0x10
		if _, _, err := decodeRecord(damaged); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		if _, _, err := decodeRecord(good[:i]); err == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	task, arrived := goldenTask()
	good, err := encodeRecord(task, arrived)
	if err != nil {
		f.Fatal(err)
	}
	task.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traced, err := encodeRecord(task, arrived)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(traced)
	f.Add(good)
	f.Add(good[:recordFixed])
	f.Add([]byte{})
	f.Add(append(bytes.Repeat([]byte{recordVersion}, recordFixed), 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would keep nearly all inputs from the fields behind it.
		if len(b) >= 5 {
			copy(b[1:5], checksumBytes(b[5:]))
		}
		task, arrived, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := encodeRecord(task, arrived)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x was read, and written as %x", b, again)
		}
	})
}

func FuzzEncodeRecord(f *testing.F) {
	f.Add("event:record", "event:record:klingai:1", []byte("{}"), int64(1))
	f.Fuzz(func(t *testing.T, kind, id string, payload []byte, micros int64) {
		want := tasks.Task{Kind: tasks.Kind(kind), ID: id, Payload: payload}
		at := time.UnixMicro(micros)
		b, err := encodeRecord(want, at)
		if err != nil {
			t.Fatal(err)
		}
		task, arrived, err := decodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if task.Kind != want.Kind || task.ID != want.ID || !bytes.Equal(task.Payload, want.Payload) || !arrived.Equal(at) {
			t.Errorf("%+v of %v came out as %+v of %v", want, at, task, arrived)
		}
	})
}

func checksumBytes(b []byte) []byte {
	sum := checksum(b)
	return []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
}
