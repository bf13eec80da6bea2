// One X-Ray daemon on every EC2 instance of an ECS cluster, and an application that reaches it.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

import { daemonContainer, executionRole, logsTo, taskRole } from "./daemon";

export function ec2Daemon(): pulumi.Output<string> {
    const config = new pulumi.Config();
    const appImage = config.require("appImage");
    const appPort = config.getNumber("appPort") ?? 8080;
    // An existing cluster with EC2 container instances, x86_64, ARM or both.
    const cluster = config.require("cluster");
    const instanceSecurityGroupId = config.require("instanceSecurityGroupId");
    // Only for applications in awsvpc mode, which come from outside the instance.
    const awsvpcAppSecurityGroupId = config.get("awsvpcAppSecurityGroupId");

    const task = taskRole("xray-daemon-task");
    const execution = executionRole("xray-daemon-execution");
    const logs = new aws.cloudwatch.LogGroup("xray-daemon", { retentionInDays: 14 });

    if (awsvpcAppSecurityGroupId) {
        // Segments come by UDP, sampling rules by TCP: one without the other is half a daemon.
        for (const ipProtocol of ["udp", "tcp"]) {
            new aws.vpc.SecurityGroupIngressRule(`xray-daemon-${ipProtocol}`, {
                securityGroupId: instanceSecurityGroupId,
                referencedSecurityGroupId: awsvpcAppSecurityGroupId,
                ipProtocol,
                fromPort: 2000,
                toPort: 2000,
            });
        }
    }

    const daemonDefinition = new aws.ecs.TaskDefinition("xray-daemon", {
        family: "xray-daemon",
        requiresCompatibilities: ["EC2"],
        // Not bridge: a published UDP port keeps NAT state that can point at a container that is gone.
        networkMode: "host",
        // No runtimePlatform: the image is multi-architecture and goes wherever an instance is.
        taskRoleArn: task.arn,
        executionRoleArn: execution.arn,
        containerDefinitions: pulumi.jsonStringify([
            daemonContainer(logs, {
                essential: true,
                cpu: 64,
                memory: 128,
                portMappings: [
                    { containerPort: 2000, hostPort: 2000, protocol: "udp" },
                    { containerPort: 2000, hostPort: 2000, protocol: "tcp" },
                ],
            }),
        ]),
    });

    const daemon = new aws.ecs.Service("xray-daemon", {
        cluster,
        taskDefinition: daemonDefinition.arn,
        launchType: "EC2",
        schedulingStrategy: "DAEMON",
        // Port 2000 of the host can be held once: the old task must go before the new one starts.
        deploymentMinimumHealthyPercent: 0,
        deploymentMaximumPercent: 100,
        deploymentCircuitBreaker: { enable: true, rollback: true },
    });

    const appDefinition = new aws.ecs.TaskDefinition("example-app", {
        family: "example-app",
        requiresCompatibilities: ["EC2"],
        networkMode: "bridge",
        executionRoleArn: execution.arn,
        containerDefinitions: pulumi.jsonStringify([{
            name: "app",
            image: appImage,
            essential: true,
            cpu: 256,
            memory: 512,
            portMappings: [{ containerPort: appPort, protocol: "tcp" }],
            // The instance itself, as a container on Docker's default bridge sees it.
            environment: [{ name: "AWS_XRAY_DAEMON_ADDRESS", value: "172.17.0.1:2000" }],
            logConfiguration: logsTo(logs),
        }]),
    });

    new aws.ecs.Service("example-app", {
        cluster,
        taskDefinition: appDefinition.arn,
        launchType: "EC2",
        desiredCount: 1,
    }, { dependsOn: [daemon] });

    return task.arn;
}
