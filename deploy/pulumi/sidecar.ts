// The daemon as a container of your own task in awsvpc mode, on Fargate or EC2.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

import { daemonContainer, defaultImage, taskRole } from "./container";

export interface XRaySidecarArgs {
    /** Where the daemon's log goes. */
    logGroup: aws.cloudwatch.LogGroup;
    image?: pulumi.Input<string>;
    /** The daemon's flags; by default it listens on the loopback of the task and nowhere else. */
    command?: string[];
}

/** A role for the task, and what stands beside and in the containers that are traced. */
export class XRaySidecar extends pulumi.ComponentResource {
    /** The role of the task: the daemon signs with it. Add what your own containers may do. */
    readonly taskRole: aws.iam.Role;
    /** For the task's containers. */
    readonly container: object;
    /** For the environment of the containers that are traced. */
    readonly environment = [{ name: "AWS_XRAY_DAEMON_ADDRESS", value: "127.0.0.1:2000" }];
    /** For their dependsOn: the daemon starts first and, because of this, is stopped last. */
    readonly dependsOn = [{ containerName: "xray-daemon", condition: "START" }];

    constructor(name: string, args: XRaySidecarArgs, options?: pulumi.ComponentResourceOptions) {
        super("xray-daemon:ecs:Sidecar", name, {}, options);
        this.taskRole = taskRole(`${name}-task`, { parent: this });
        this.container = daemonContainer(args.image ?? defaultImage, args.logGroup, {
            // Tracing never takes the application down: the daemon is restarted in place instead.
            essential: false,
            restartPolicy: { enabled: true },
            cpu: 32,
            memory: 64,
            command: args.command ?? ["-b", "127.0.0.1:2000", "-t", "127.0.0.1:2000"],
        });
        this.registerOutputs();
    }
}
