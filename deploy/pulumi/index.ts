// pulumi config set shape fargate-sidecar | ec2-daemon
// The other settings are read at the top of the two files imported here.
import * as pulumi from "@pulumi/pulumi";

import { ec2Daemon } from "./ec2Daemon";
import { fargateSidecar } from "./fargateSidecar";

const shapes = { "fargate-sidecar": fargateSidecar, "ec2-daemon": ec2Daemon };
const shape = new pulumi.Config().require<keyof typeof shapes>("shape", {
    allowedValues: ["fargate-sidecar", "ec2-daemon"],
});

export const taskRoleArn = shapes[shape]();
