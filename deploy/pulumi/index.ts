// A program around the two components, XRaySidecar and XRayEcsDaemon, to try and to copy from:
//   npm ci
//   pulumi stack init dev
//   pulumi config set aws:region eu-west-1
//   pulumi config set shape fargate-sidecar     # or ec2-daemon
//   pulumi config set cluster my-cluster        # and what else the two files imported here ask for
//   pulumi up
import * as pulumi from "@pulumi/pulumi";

import { ec2Daemon } from "./ec2Daemon";
import { fargateSidecar } from "./fargateSidecar";

// The CLI must be as new as the SDK, or it does not know what it is told.
pulumi.requirePulumiVersion(">=3.270.0");

const shapes = { "fargate-sidecar": fargateSidecar, "ec2-daemon": ec2Daemon };
const shape = new pulumi.Config().require<keyof typeof shapes>("shape", {
    allowedValues: ["fargate-sidecar", "ec2-daemon"],
});

export const taskRoleArn = shapes[shape]();
