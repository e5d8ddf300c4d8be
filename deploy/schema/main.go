// Loads docker-compose.yml as `docker compose` does, with each set of profiles: a field, a type or a reference that
// Compose does not take is an error, and so is a variable that nobody gives.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"
)

// What .env has to give.
var given = []string{"TICKGATE_FINNHUB__TOKEN=token", "GRAFANA_PASSWORD=password", "PAGE_PASSWORD=password"}

// Compose warns of variables that are not set, and goes on with nothing.
type failing struct{ warned *[]string }

func (failing) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }

func (hook failing) Fire(entry *logrus.Entry) error {
	*hook.warned = append(*hook.warned, entry.Message)
	return nil
}

func main() {
	var warned []string
	logrus.AddHook(failing{&warned})
	for _, profiles := range [][]string{{}, {"simulate"}, {"airflow"}, {"simulate", "airflow"}} {
		services, err := load(os.Args[1], profiles)
		if err == nil && len(warned) > 0 {
			err = fmt.Errorf("%s", strings.Join(warned, "; "))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s with profiles %v: %v\n", os.Args[1], profiles, err)
			os.Exit(1)
		}
		fmt.Printf("%d services with profiles %v\n", services, profiles)
	}
}

func load(path string, profiles []string) (int, error) {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithEnv(given), cli.WithProfiles(profiles),
		cli.WithResolvedPaths(true))
	if err != nil {
		return 0, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return 0, err
	}
	return len(project.Services), nil
}
