package result

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Conditions are what a number depends on besides the program measured: the
// machine, and who else was using it.
type Conditions struct {
	dir   string
	began time.Time
	load  string
	ticks ticks
}

// Observe begins to watch the machine; dir is on the file system under test.
func Observe(dir string) *Conditions {
	return &Conditions{dir: dir, began: time.Now(), load: loadAverage(), ticks: cpuTicks()}
}

// String says, as a Markdown list, on what machine and beside what other load
// the time since Observe passed.
func (c *Conditions) String() string {
	now := cpuTicks()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "- "+format+"\n", args...) }
	line("%s, %s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), time.Since(c.began).Round(time.Second))
	line("%s, %d cores, %s", field("/proc/cpuinfo", "model name"), runtime.NumCPU(), field("/proc/meminfo", "MemTotal"))
	line("Linux %s, %s, %s", kernel(), fileSystem(c.dir), runtime.Version())
	line("load average %s before, %s after (the measurement itself included); steal %s", c.load, loadAverage(), now.stolenSince(c.ticks))
	return b.String()
}

// field returns the value of the first "name : value" line of a /proc file.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown " + name
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown " + name
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "of unknown version"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// fileSystem names the file system that dir is on.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown file system"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name, ok := names[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("file system %#x", s.Type)
}

// ticks are the CPU's time since boot, in the kernel's unit.
type ticks struct{ total, stolen uint64 }

// cpuTicks reads the first line of /proc/stat: "cpu user nice system idle iowait
// irq softirq steal guest guest_nice", of which guest time is in user already.
func cpuTicks() ticks {
	var t ticks
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(first) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 8 {
			continue
		}
		t.total += n
		if i == 8 {
			t.stolen = n
		}
	}
	return t
}

func (t ticks) stolenSince(before ticks) string {
	if t.total <= before.total {
		return "unknown"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(t.stolen-before.stolen)/float64(t.total-before.total))
}
