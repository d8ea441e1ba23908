// Finds promises that are returned without `await` where something still has to end first: out of `for await`, `try`, or
// behind `using`. Until that has ended nobody listens to such a promise, and when it rejects meanwhile Node ends the
// process with an unhandled rejection. It takes types to see them, so Biome has no rule for it.
//
//     node scripts/check-awaits.js [tsconfig]
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Places, as `file:line: the statement`. */
export function unawaitedReturns(files, options) {
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  const found = [];
  const visit = (node) => {
    if (ts.isReturnStatement(node) && isPromise(node.expression, checker) && isHeldUp(node))
      found.push(place(node));
    ts.forEachChild(node, visit);
  };
  for (const source of program.getSourceFiles()) if (!source.isDeclarationFile) visit(source);
  return found;
}

function isPromise(expression, checker) {
  if (!expression || ts.isAwaitExpression(expression)) return false;
  const type = checker.getTypeAtLocation(expression);
  const types = type.isUnion() ? type.types : [type];
  return types.some((one) => checker.getPropertyOfType(one, 'then'));
}

/** Whether something ends between the return and the end of its async function. */
function isHeldUp(statement) {
  for (let inner = statement, node = statement.parent; node; inner = node, node = node.parent) {
    if (ts.isFunctionLike(node)) return false;
    if (ts.isForOfStatement(node) && node.awaitModifier && isInAsync(node)) return true;
    if (ts.isTryStatement(node) && isInTry(node, inner) && isInAsync(node)) return true;
    if (ts.isBlock(node) && node.statements.some((one) => isUsing(one, inner)) && isInAsync(node))
      return true;
  }
  return false;
}

function isInTry({ tryBlock, catchClause, finallyBlock }, inner) {
  return inner === tryBlock || (inner === catchClause && finallyBlock !== undefined);
}

function isUsing(statement, before) {
  if (!ts.isVariableStatement(statement) || statement.pos >= before.pos) return false;
  return (statement.declarationList.flags & ts.NodeFlags.Using) !== 0;
}

function isInAsync(node) {
  const owner = ts.findAncestor(node, ts.isFunctionLike);
  return owner?.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) ?? false;
}

function place(node) {
  const source = node.getSourceFile();
  const { line } = source.getLineAndCharacterOfPosition(node.getStart());
  const [text] = node.getText().split('\n');
  return `${relative(process.cwd(), source.fileName)}:${line + 1}: ${text}`;
}

function main(config = 'tsconfig.test.json') {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: ({ messageText }) => fail(messageText) };
  const { fileNames, options } = ts.getParsedCommandLineOfConfigFile(config, {}, host);
  const found = unawaitedReturns(fileNames, options);
  for (const line of found) console.error(line);
  if (found.length > 0)
    fail('Await these promises before they are returned: what ends first does not listen to them.');
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2]);
