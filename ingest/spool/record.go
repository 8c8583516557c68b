package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Record is a task in the spool.
type Record struct {
	// Seq is the record's place in the order of arrival. It is never given twice.
	Seq uint64
	// ArrivedAt is when Put was called, in UTC, to the microsecond.
	ArrivedAt time.Time
	Task      tasks.Task
	// Damaged is why the record cannot be read; it is nil for a good one. Of a
	// damaged record only Seq is known.
	Damaged error
}

const (
	recordVersion = 1
	// tracedVersion is that of a record whose task is traced: its trace stands before
	// the payload. Others stay as every release reads them.
	tracedVersion = 2
	// recordFixed is the length of a record whose kind, ID and payload are empty.
	recordFixed = 1 + 4 + 8 + 4 + 4
)

func checksum(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// encodeRecord returns the stored form of a task.
func encodeRecord(t tasks.Task, arrived time.Time) ([]byte, error) {
	if len(t.Kind) > math.MaxUint32 || len(t.ID) > math.MaxUint32 || len(t.Trace) > math.MaxUint32 {
		return nil, errors.New("the task's kind, ID or trace is longer than 4 GiB")
	}
	b := make([]byte, 5, recordFixed+len(t.Kind)+len(t.ID)+len(t.Payload))
	b = binary.BigEndian.AppendUint64(b, uint64(arrived.UnixMicro()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.Kind)))
	b = append(b, t.Kind...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.ID)))
	b = append(b, t.ID...)
	b[0] = recordVersion
	if t.Trace != "" {
		b[0] = tracedVersion
		b = binary.BigEndian.AppendUint32(b, uint32(len(t.Trace)))
		b = append(b, t.Trace...)
	}
	b = append(b, t.Payload...)
	binary.BigEndian.PutUint32(b[1:5], checksum(b[5:]))
	return b, nil
}

// decodeRecord reads what encodeRecord wrote. The task's payload shares no memory
// with b.
func decodeRecord(b []byte) (tasks.Task, time.Time, error) {
	if len(b) < recordFixed {
		return tasks.Task{}, time.Time{}, fmt.Errorf("it has %d bytes, which is too short", len(b))
	}
	if b[0] != recordVersion && b[0] != tracedVersion {
		return tasks.Task{}, time.Time{}, fmt.Errorf("its version is %d; this release reads %d and %d", b[0], recordVersion, tracedVersion)
	}
	if binary.BigEndian.Uint32(b[1:5]) != checksum(b[5:]) {
		return tasks.Task{}, time.Time{}, errors.New("its checksum does not match")
	}
	arrived := arrivalOf(b)
	kind, rest, ok := cutField(b[13:])
	if !ok {
		return tasks.Task{}, time.Time{}, errors.New("its kind is cut short")
	}
	id, payload, ok := cutField(rest)
	if !ok {
		return tasks.Task{}, time.Time{}, errors.New("its task ID is cut short")
	}
	var trace []byte
	if b[0] == tracedVersion {
		if trace, payload, ok = cutField(payload); !ok || len(trace) == 0 {
			return tasks.Task{}, time.Time{}, errors.New("its trace is cut short")
		}
	}
	return tasks.Task{Kind: tasks.Kind(kind), ID: string(id), Payload: append([]byte(nil), payload...), Trace: string(trace)}, arrived, nil
}

// arrivalOf returns when a record arrived; the zero time when it is too short to
// say.
func arrivalOf(b []byte) time.Time {
	if len(b) < 13 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b[5:13]))).UTC()
}

// cutField splits off a field that is led by its length.
func cutField(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// seqKey is the key of a record: big-endian, so that keys sort as they arrived.
func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// sizeOf is what a record counts against the spool's limit.
func sizeOf(value []byte) int64 { return int64(8 + len(value)) }
