package figure

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sentence makes an error's message one. A message that begins with a name is
// left as it is, for names have no capitals of their own.
func Sentence(msg string) string {
	first, _, _ := strings.Cut(msg, " ")
	if first == "" || strings.ContainsAny(first, "/.:") {
		return msg
	}
	letter, rest := utf8.DecodeRuneInString(msg)
	return string(unicode.ToUpper(letter)) + msg[rest:] + "."
}

// OneLine makes text fit for one line.
func OneLine(s string, n int) string {
	return Clip(strings.Join(strings.Fields(Plain(s)), " "), n)
}

// Plain returns s with every character that has no glyph as U+FFFD: records
// hold what attackers chose, and a direction mark could turn a line around.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) || r == '\n' || r == '\t' {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Clip returns at most n characters of s, with an ellipsis for the rest.
func Clip(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// maxLine is the longest text that is shown on one line: keys that withstand a quantum
// computer are longer by far.
const maxLine = 120

// Brief is a text if it fits on a line, and otherwise how it begins.
func Brief(s string) string {
	if len(s) <= maxLine {
		return s
	}
	return Clip(s, maxLine/2)
}

// UTC formats an instant in full.
func UTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }

// Clock is the time of day of an instant.
func Clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// Second is an instant to the second.
func Second(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Thousands groups a count's digits.
func Thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// Bytes says a size in the unit that fits.
func Bytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n)/(1<<10), 0
	for size >= 1<<10 && unit < len(units)-1 {
		size, unit = size/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// Lasted says a duration in three digits.
func Lasted(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Minute is an instant to the minute.
func Minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Span writes a duration without its zero parts: 24h, 1m, 1m30s.
func Span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Days writes a long time in days where it is whole ones.
func Days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d >= day && d%day == 0:
		return Thousands(uint64(d/day)) + " days"
	}
	return Span(d)
}

// Count says how many there are of something whose plural takes an s.
func Count[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
