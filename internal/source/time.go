package source

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Time returns the time under a key in UTC, as [parseTime] reads it. It is zero for times
// before 1970 or after 9999.
func (o Object) Time(key string) time.Time {
	t := parseTime(strings.ToUpper(strings.TrimSpace(o.Scalar(key)))).UTC()
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// parseTime reads a date and a time of day, or a number of seconds, milliseconds,
// microseconds or nanoseconds since 1970. The text is in upper case. A time without a
// zone is in UTC.
func parseTime(text string) time.Time {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return sinceEpoch(n)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		switch {
		case n > 0 && n < minMillis:
			return time.UnixMilli(int64(math.Round(n * 1000)))
		case n >= minMillis && n < math.MaxInt64:
			return sinceEpoch(int64(n))
		}
		return time.Time{} // including NaN
	}
	for _, utc := range []string{"UTC", "GMT", "Z"} {
		if before, found := strings.CutSuffix(text, utc); found {
			text = strings.TrimSpace(before)
		}
	}
	for _, date := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "Mon, 2 Jan 2006 15:04:05"} {
		for _, zone := range []string{"", "-07:00", "-0700", "-07", " -07:00", " -0700", " -07"} {
			if t, err := time.Parse(date+zone, text); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// The smallest numbers that are read as milliseconds, microseconds and nanoseconds. In the
// next larger unit they would be after the year 5000.
const (
	minMillis = 1e11
	minMicros = 1e15
	minNanos  = 1e18
)

func sinceEpoch(n int64) time.Time {
	switch {
	case n <= 0:
		return time.Time{}
	case n < minMillis:
		return time.Unix(n, 0)
	case n < minMicros:
		return time.UnixMilli(n)
	case n < minNanos:
		return time.UnixMicro(n)
	}
	return time.Unix(0, n)
}
