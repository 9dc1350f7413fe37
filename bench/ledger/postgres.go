package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// connections is how many clients insert at once, each with its own connection.
const connections = 64

// A missingError says why there is no PostgreSQL to measure.
type missingError struct{ why string }

func (e *missingError) Error() string { return e.why }

// A cluster is a private PostgreSQL: its own directory, no network, nothing
// tuned but what the measurement says. It runs only while its rounds do.
type cluster struct {
	bin    string
	dir    string
	runner *syscall.Credential // whom its programs run as; nil: the caller
}

// newCluster makes the cluster, or returns a missingError.
func newCluster(ctx context.Context, work string) (*cluster, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: filepath.Join(work, "postgresql-cluster")}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := c.leaveRoot(); err != nil {
			return nil, err
		}
	}
	return c, c.command(ctx, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
}

// findPostgres returns the directory of initdb and pg_ctl, of the newest version
// if there are several.
func findPostgres() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", &missingError{"there is no initdb in the PATH or below /usr/lib/postgresql; install the package postgresql"}
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// leaveRoot gives the cluster to the user postgres: initdb refuses to run as
// root.
func (c *cluster) leaveRoot() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return &missingError{"it does not run as root, and there is no user postgres"}
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return err
	}
	c.runner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(c.dir, int(uid), int(gid))
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// command runs one of PostgreSQL's programs, whose output matters only when it
// fails. It goes to a file, because pg_ctl's server would keep a pipe open.
func (c *cluster) command(ctx context.Context, name string, args ...string) error {
	out, err := os.CreateTemp("", "bench-postgresql-*.out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.runner, Setpgid: true} // Ctrl-C is ours to act on
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return nil
}

// open starts the server, with an empty table, and connects.
func (c *cluster) open(ctx context.Context, dir string, l *load) (session, error) {
	options := "-c listen_addresses='' -c fsync=on -c synchronous_commit=on -c unix_socket_directories=" + c.dir
	if err := c.command(ctx, "pg_ctl", "-D", c.data(), "-w", "-l", filepath.Join(c.dir, "log"), "-o", options, "start"); err != nil {
		return nil, err
	}
	s := &postgresSession{cluster: c, load: l}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// A postgresSession is a running cluster and its clients.
type postgresSession struct {
	cluster *cluster
	clients []*pgx.Conn
	load    *load
}

func (s *postgresSession) connect(ctx context.Context) error {
	for range connections {
		client, err := pgx.Connect(ctx, "user=postgres dbname=postgres host="+s.cluster.dir)
		if err != nil {
			return err
		}
		s.clients = append(s.clients, client)
	}
	_, err := s.clients[0].Exec(ctx, `DROP TABLE IF EXISTS entries;
		CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry bytea NOT NULL)`)
	return err
}

func (s *postgresSession) Append(ctx context.Context, producer int) error {
	_, err := s.clients[producer].Exec(ctx, "INSERT INTO entries (entry) VALUES ($1)", s.load.entries[producer])
	return err
}

// Close stops the server, which writes its own checkpoint first.
func (s *postgresSession) Close() error {
	ctx := context.Background() // also when the run was interrupted
	for _, client := range s.clients {
		client.Close(ctx)
	}
	return s.cluster.command(ctx, "pg_ctl", "-D", s.cluster.data(), "-w", "-m", "fast", "stop")
}
