// An example: an application on Fargate with the X-Ray daemon as a sidecar.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

import { executionRole, logsTo } from "./container";
import { XRaySidecar } from "./sidecar";

export function fargateSidecar(): pulumi.Output<string> {
    const config = new pulumi.Config();
    const appImage = config.require("appImage");
    const appPort = config.getNumber("appPort") ?? 8080;
    const appClientCidr = config.get("appClientCidr") ?? "10.0.0.0/8";
    const cluster = config.require("cluster");
    const vpcId = config.require("vpcId");
    // They need a way to xray.<region>.amazonaws.com: NAT, a public address, or the xray VPC endpoint.
    const subnets = config.requireObject<string[]>("subnetIds");
    const cpuArchitecture = config.get("cpuArchitecture", { allowedValues: ["X86_64", "ARM64"] }) ?? "X86_64";

    const logs = new aws.cloudwatch.LogGroup("example-app", { retentionInDays: 14 });
    const xray = new XRaySidecar("example-app", { logGroup: logs });

    // No rule for port 2000: the two containers share the task's loopback, and the daemon listens only there.
    const securityGroup = new aws.ec2.SecurityGroup("example-app", {
        vpcId,
        description: "Application with an X-Ray sidecar",
        ingress: [{ protocol: "tcp", fromPort: appPort, toPort: appPort, cidrBlocks: [appClientCidr] }],
        egress: [{ protocol: "tcp", fromPort: 443, toPort: 443, cidrBlocks: ["0.0.0.0/0"] }],
    });

    const definition = new aws.ecs.TaskDefinition("example-app", {
        family: "example-app",
        requiresCompatibilities: ["FARGATE"],
        networkMode: "awsvpc",
        runtimePlatform: { operatingSystemFamily: "LINUX", cpuArchitecture },
        cpu: "256",
        memory: "512",
        taskRoleArn: xray.taskRole.arn,
        executionRoleArn: executionRole("example-app-execution", {}).arn,
        containerDefinitions: pulumi.jsonStringify([
            {
                name: "app",
                image: appImage,
                essential: true,
                portMappings: [{ containerPort: appPort, protocol: "tcp" }],
                environment: xray.environment,
                dependsOn: xray.dependsOn,
                logConfiguration: logsTo(logs),
            },
            xray.container,
        ]),
    });

    new aws.ecs.Service("example-app", {
        cluster,
        taskDefinition: definition.arn,
        launchType: "FARGATE",
        desiredCount: 1,
        deploymentCircuitBreaker: { enable: true, rollback: true },
        networkConfiguration: {
            subnets,
            securityGroups: [securityGroup.id],
            assignPublicIp: config.getBoolean("assignPublicIp") ?? false,
        },
    });

    return xray.taskRole.arn;
}
