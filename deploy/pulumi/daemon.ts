// What every shape of deployment shares: the image, the two roles, the daemon's container.
import * as aws from "@pulumi/aws";
import * as pulumi from "@pulumi/pulumi";

// The daemon's image in your registry (deploy/README.md says how to push it).
export const daemonImage =
    new pulumi.Config().get("daemonImage") ?? "<ACCOUNT_ID>.dkr.ecr.<REGION>.amazonaws.com/xray-daemon:latest";

const ecsTrust = aws.iam.getPolicyDocumentOutput({
    statements: [{
        actions: ["sts:AssumeRole"],
        principals: [{ type: "Service", identifiers: ["ecs-tasks.amazonaws.com"] }],
        conditions: [{
            test: "StringEquals",
            variable: "aws:SourceAccount",
            values: [aws.getCallerIdentityOutput().accountId],
        }],
    }],
}).json;

/** What the containers themselves may do: this is the role the daemon signs with. */
export function taskRole(name: string): aws.iam.Role {
    const role = new aws.iam.Role(name, { assumeRolePolicy: ecsTrust });
    new aws.iam.RolePolicy(name, {
        role: role.id,
        policy: aws.iam.getPolicyDocumentOutput({
            statements: [{
                actions: [
                    "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords",
                    "xray:GetSamplingRules",
                    "xray:GetSamplingTargets",
                    "xray:GetSamplingStatisticSummaries",
                ],
                resources: ["*"],
            }],
        }).json,
    });
    return role;
}

/** What ECS does before and around the containers: pull images, write their logs. Nothing of X-Ray. */
export function executionRole(name: string): aws.iam.Role {
    const role = new aws.iam.Role(name, { assumeRolePolicy: ecsTrust });
    new aws.iam.RolePolicyAttachment(name, {
        role: role.name,
        policyArn: pulumi.interpolate`arn:${
            aws.getPartitionOutput().partition
        }:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy`,
    });
    return role;
}

/** The awslogs configuration of a container that writes to `group`. */
export function logsTo(group: aws.cloudwatch.LogGroup) {
    return {
        logDriver: "awslogs",
        options: {
            "awslogs-group": group.name,
            "awslogs-region": aws.getRegionOutput().region,
            "awslogs-stream-prefix": "ecs",
        },
    };
}

/** The daemon's container; `extra` is what the place it runs in asks for. */
export function daemonContainer(group: aws.cloudwatch.LogGroup, extra: object) {
    return {
        name: "xray-daemon",
        image: daemonImage,
        user: "10001",
        readonlyRootFilesystem: true,
        linuxParameters: { capabilities: { drop: ["ALL"] } },
        healthCheck: { command: ["CMD", "/xray", "healthcheck"], interval: 10, timeout: 2, retries: 3, startPeriod: 5 },
        logConfiguration: logsTo(group),
        ...extra,
    };
}
