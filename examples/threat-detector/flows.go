package threatdetector

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pavise/pavise/internal/learn"
)

// Flows are labelled connections: the class of each row, and the attack that
// the class summarises.
type Flows struct {
	learn.Set
	Attacks []string
}

// attackClasses maps every attack of NSL-KDD, and "normal", to its class, as
// the KDD Cup 1999 scored them. Seventeen occur only in the test file.
var attackClasses = map[string]Class{
	"normal": Normal,

	"apache2": DoS, "back": DoS, "land": DoS, "mailbomb": DoS, "neptune": DoS, "pod": DoS,
	"processtable": DoS, "smurf": DoS, "teardrop": DoS, "udpstorm": DoS,

	"ipsweep": Probe, "mscan": Probe, "nmap": Probe, "portsweep": Probe, "saint": Probe, "satan": Probe,

	"ftp_write": R2L, "guess_passwd": R2L, "imap": R2L, "multihop": R2L, "named": R2L, "phf": R2L,
	"sendmail": R2L, "snmpgetattack": R2L, "snmpguess": R2L, "spy": R2L, "warezclient": R2L,
	"warezmaster": R2L, "worm": R2L, "xlock": R2L, "xsnoop": R2L,

	"buffer_overflow": U2R, "httptunnel": U2R, "loadmodule": U2R, "perl": U2R, "ps": U2R, "rootkit": U2R,
	"sqlattack": U2R, "xterm": U2R,
}

// ReadFlows reads an NSL-KDD file, already unzipped: 41 features, the name of
// the attack and a difficulty, which is ignored, separated by commas. A first line
// that names the columns is passed over. A row that
// is out of shape, a value out of its feature's bounds, or an attack without a
// class, is an error that names its line.
func ReadFlows(r io.Reader) (Flows, error) {
	f := Flows{Set: learn.Set{X: learn.Matrix{Cols: len(features)}}}
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		columns := strings.Split(lines.Text(), ",")
		if number == 1 && strings.EqualFold(strings.Trim(columns[0], `" `), features[0].Name) {
			continue
		}
		if err := f.add(columns); err != nil {
			return Flows{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return f, lines.Err()
}

func (f *Flows) add(columns []string) error {
	if len(columns) != len(features)+2 {
		return fmt.Errorf("%d columns, want %d", len(columns), len(features)+2)
	}
	attack := columns[len(features)]
	class, ok := attackClasses[attack]
	if !ok {
		return fmt.Errorf("attack %q has no class", attack)
	}
	for i, text := range columns[:len(features)] {
		if features[i].Codes != nil {
			f.X.Data = append(f.X.Data, Code(i, text))
			continue
		}
		v, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return fmt.Errorf("%s: %w", features[i].Name, err)
		}
		if !(v >= features[i].Min && v <= features[i].Max) {
			return fmt.Errorf("%s: %v is not between %v and %v", features[i].Name, v, features[i].Min, features[i].Max)
		}
		f.X.Data = append(f.X.Data, float32(v))
	}
	f.X.Rows++
	f.Y = append(f.Y, int(class))
	f.Attacks = append(f.Attacks, attack)
	return nil
}

// CheckClasses compares a table of attack and class, separated by a comma, with
// the one built in: what it lists must be the same.
func CheckClasses(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		attack, class, ok := strings.Cut(strings.TrimSpace(lines.Text()), ",")
		if !ok || attack == "unknown" {
			continue
		}
		if known, ok := attackClasses[attack]; !ok || known.String() != class {
			return fmt.Errorf("attack %q is %q there, and not here", attack, class)
		}
	}
	return lines.Err()
}
