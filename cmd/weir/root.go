package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRootCmd(a *app) *cobra.Command {
	root := a.group("weir", "Keeps a cluster's services reachable, balanced and alive",
		newAgentCmd(a),
		newControlcenterCmd(a),
		newDemoCmd(a),
		newDescribeCmd(a),
		newDoctorCmd(a),
		newEventsCmd(a, nil),
		newExplainCmd(a),
		newGetCmd(a),
		newGuardCmd(a),
		newLauncherCmd(a, nil),
		newLoadmonCmd(a, nil),
		newLogsCmd(a, nil),
		newNodeCmd(a),
		newPauseCmd(a, nil),
		newRBACCmd(a, nil),
		newReportCmd(a, nil),
		newResumeCmd(a, nil),
		newRulesCmd(a),
		newScaleCmd(a, nil),
		newSimulateCmd(a, nil),
		newStatusCmd(a, nil),
		newTopCmd(a, nil),
		newTraceCmd(a),
		newUpCmd(a),
		newVersionCmd(a),
	)
	root.Long = root.Short + ".\n\n" + exitHelp
	root.SilenceErrors, root.SilenceUsage = true, true
	a.etcd.register(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := fromEnvironment(root.PersistentFlags()); err != nil {
			return err
		}
		a.started = true
		return nil
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, c.CommandPath())
	})
	addCompletion(a, root)
	return root
}

func newControlcenterCmd(a *app) *cobra.Command {
	return a.group("controlcenter", "Publish services and look after them",
		newPublishCmd(a, nil),
		newPlanCmd(a, nil),
		newWithdrawCmd(a, nil),
		newServeCmd(a, nil),
		newGetCmd(a),
		newDrainCmd(a, nil),
		newUndrainCmd(a, nil),
		newWeightCmd(a, nil),
		newConfigCmd(a, nil),
		newNodeCmd(a),
		newPauseCmd(a, nil),
		newResumeCmd(a, nil),
	)
}
