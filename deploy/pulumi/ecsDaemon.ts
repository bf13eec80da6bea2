// One daemon on every EC2 instance of an ECS cluster.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

import { daemonContainer, defaultImage, executionRole, taskRole } from "./container";

export interface XRayEcsDaemonArgs {
    /** An existing cluster with EC2 container instances, x86_64, ARM or both. */
    cluster: pulumi.Input<string>;
    instanceSecurityGroupId: pulumi.Input<string>;
    /** Only for applications in awsvpc mode, which come from outside the instance. */
    awsvpcAppSecurityGroupId?: pulumi.Input<string>;
    image?: pulumi.Input<string>;
}

/** The daemon with its roles, its log group and its service. */
export class XRayEcsDaemon extends pulumi.ComponentResource {
    /** The role that the daemon signs with. */
    readonly taskRole: aws.iam.Role;
    readonly service: aws.ecs.Service;

    constructor(name: string, args: XRayEcsDaemonArgs, options?: pulumi.ComponentResourceOptions) {
        super("xray-daemon:ecs:Daemon", name, {}, options);
        const parent = { parent: this };
        this.taskRole = taskRole(`${name}-task`, parent);
        const logs = new aws.cloudwatch.LogGroup(name, { retentionInDays: 14 }, parent);

        if (args.awsvpcAppSecurityGroupId) {
            // Segments come by UDP, sampling rules by TCP: one without the other is half a daemon.
            for (const ipProtocol of ["udp", "tcp"]) {
                new aws.vpc.SecurityGroupIngressRule(`${name}-${ipProtocol}`, {
                    securityGroupId: args.instanceSecurityGroupId,
                    referencedSecurityGroupId: args.awsvpcAppSecurityGroupId,
                    ipProtocol,
                    fromPort: 2000,
                    toPort: 2000,
                }, parent);
            }
        }

        const definition = new aws.ecs.TaskDefinition(name, {
            family: name,
            requiresCompatibilities: ["EC2"],
            // Not bridge: a published UDP port keeps NAT state that can point at a container that is gone.
            networkMode: "host",
            // No runtimePlatform: the image is multi-architecture and goes wherever an instance is.
            taskRoleArn: this.taskRole.arn,
            executionRoleArn: executionRole(`${name}-execution`, parent).arn,
            containerDefinitions: pulumi.jsonStringify([
                daemonContainer(args.image ?? defaultImage, logs, {
                    essential: true,
                    cpu: 64,
                    memory: 128,
                    portMappings: [
                        { containerPort: 2000, hostPort: 2000, protocol: "udp" },
                        { containerPort: 2000, hostPort: 2000, protocol: "tcp" },
                    ],
                }),
            ]),
        }, parent);

        this.service = new aws.ecs.Service(name, {
            cluster: args.cluster,
            taskDefinition: definition.arn,
            launchType: "EC2",
            schedulingStrategy: "DAEMON",
            // Port 2000 of the host can be held once: the old task must go before the new one starts.
            deploymentMinimumHealthyPercent: 0,
            deploymentMaximumPercent: 100,
            deploymentCircuitBreaker: { enable: true, rollback: true },
        }, parent);
        this.registerOutputs();
    }
}
